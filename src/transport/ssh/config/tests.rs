use super::{Disk, HostConfig, Query, of_host};

const HOME: &str = "/home/me";

/// Reads `files`, of which the first is `~/.ssh/config`.
fn read(files: &[(&str, &str)], host: &str, user: Option<&str>) -> HostConfig {
    let text = |path: &str| files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned());
    let list = |folder: &str| {
        let below = files.iter().filter_map(|(name, _)| name.strip_prefix(folder)?.strip_prefix('/'));
        below.filter(|name| !name.contains('/')).map(str::to_owned).collect()
    };
    of_host(&Disk { read: &text, list: &list, home: HOME }, &Query { host, user, local_user: "me" })
}

fn of(config: &str, host: &str) -> HostConfig {
    read(&[("/home/me/.ssh/config", config)], host, None)
}

const CONFIG: &str = "User early\nHost web* !web9\n  HostName %h.example.com\n  Port=2222\n  User late\n  IdentityFile ~/.ssh/a\n\
                      Host *\n  IdentityFile ~/.ssh/b\n  ProxyJump gate\n  Port 22\n";

#[test]
fn the_first_value_stands_and_identities_add_up() {
    let config = of(CONFIG, "web1");
    assert_eq!(config.user.as_deref(), Some("early"));
    assert_eq!((config.host_name.as_deref(), config.port), (Some("%h.example.com"), Some(2222)));
    assert_eq!(config.identity_files, ["~/.ssh/a", "~/.ssh/b"]);
    assert_eq!(config.proxy_jump.as_deref(), Some("gate"));
}

#[test]
fn a_host_pattern_with_an_exclamation_mark_takes_out() {
    assert_eq!(of(CONFIG, "web9").port, Some(22));
    assert_eq!(of(CONFIG, "db").host_name, None);
}

#[test]
fn match_blocks_apply_by_host_name_and_by_who_logs_in() {
    let config = "Host alias\n  HostName real.example.com\nMatch host *.example.com user deploy\n  Port 1\n\
                  Match originalhost alias,other !user deploy\n  Port 2\nMatch all\n  Port 3\n";
    let port = |host, user| read(&[("/home/me/.ssh/config", config)], host, user).port;
    assert_eq!(port("alias", Some("deploy")), Some(1));
    assert_eq!(port("alias", None), Some(2), "the local user is not deploy");
    assert_eq!(port("real.example.com", Some("deploy")), Some(1));
    assert_eq!(port("elsewhere", Some("deploy")), Some(3));
}

#[test]
fn a_user_of_the_file_counts_for_later_match_blocks() {
    assert_eq!(of("User deploy\nMatch user deploy\n  Port 7\n", "any").port, Some(7));
    assert_eq!(of("Match user me\n  Port 8\n", "any").port, Some(8));
    assert_eq!(of("Match localuser me\n  Port 9\n", "any").port, Some(9));
}

#[test]
fn a_match_that_runs_a_program_is_not_applied_and_says_so() {
    let config = of("Match host alpha exec \"test -e /vpn\"\n  ProxyJump gate\nMatch exec true host beta\n  Port 1\n", "alpha");
    assert_eq!(config.proxy_jump, None);
    assert_eq!(config.notes, ["`Match exec` in /home/me/.ssh/config:1 is not applied"]);
    assert_eq!(of("Match final\n  Port 1\nMatch !final host a\n  Port 2\n", "a").port, Some(2));
}

#[test]
fn files_are_included_in_the_order_of_their_names_and_only_where_the_block_applies() {
    let files = [
        ("/home/me/.ssh/config", "Include conf.d/*.conf\nHost beta\n  Include only-beta\nHost *\n  Port 5\n"),
        ("/home/me/.ssh/conf.d/20-b.conf", "Host alpha\n  User second\n  Port 2\n"),
        ("/home/me/.ssh/conf.d/10-a.conf", "Host alpha\n  User first\n"),
        ("/home/me/.ssh/conf.d/.hidden.conf", "Port 9\n"),
        ("/home/me/.ssh/conf.d/notes", "Port 9\n"),
        ("/home/me/.ssh/only-beta", "Port 3\nHost *\n  User included\n"),
    ];
    let alpha = read(&files, "alpha", None);
    assert_eq!((alpha.user.as_deref(), alpha.port), (Some("first"), Some(2)));
    let beta = read(&files, "beta", None);
    assert_eq!((beta.user.as_deref(), beta.port), (Some("included"), Some(3)));
    let other = read(&files, "other", None);
    assert_eq!((other.user.as_deref(), other.port), (None, Some(5)), "an included `Host *` does not leave its block");
}

#[test]
fn files_that_include_each_other_end() {
    let config = read(&[("/home/me/.ssh/config", "Include ~/.ssh/config\nInclude config\nPort 4\n")], "a", None);
    assert_eq!(config.port, Some(4));
    assert!(config.notes.iter().any(|note| note.contains("too deep")), "{:?}", config.notes);
}

#[test]
fn the_systems_file_comes_after_the_users() {
    let files = [
        ("/home/me/.ssh/config", "Port 1\n"),
        ("/etc/ssh/ssh_config", "Port 2\nInclude more\n"),
        ("/etc/ssh/more", "User sys\n"),
    ];
    let config = read(&files, "a", None);
    assert_eq!((config.port, config.user.as_deref()), (Some(1), Some("sys")));
}

#[test]
fn of_jump_and_command_the_first_stands() {
    let jump = of("ProxyJump gate\nProxyCommand nc %h %p\n", "a");
    assert_eq!((jump.proxy_jump.as_deref(), jump.proxy_command), (Some("gate"), None));
    let command = of("ProxyCommand nc -X 5 %h %p\nProxyJump gate\n", "a");
    assert_eq!((command.proxy_jump, command.proxy_command.as_deref()), (None, Some("nc -X 5 %h %p")));
}

#[test]
fn the_rest_of_what_concerns_a_connection_is_read() {
    let config = of(
        "IdentitiesOnly yes\nIdentityAgent none\nUserKnownHostsFile /a /b\nGlobalKnownHostsFile /c\nHostKeyAlias x\nConnectTimeout 3\n\
         CertificateFile /d\nStrictHostKeyChecking no\n",
        "a",
    );
    assert_eq!((config.identities_only, config.identity_agent.as_deref()), (Some(true), Some("none")));
    assert_eq!(config.user_known_hosts.as_deref(), Some(&["/a".to_owned(), "/b".to_owned()][..]));
    assert_eq!(config.global_known_hosts.as_deref(), Some(&["/c".to_owned()][..]));
    assert_eq!((config.host_key_alias.as_deref(), config.connect_timeout.map(|wait| wait.as_secs())), (Some("x"), Some(3)));
    assert_eq!(config.notes, ["`certificatefile` in /home/me/.ssh/config:7 is not used"]);
}

#[test]
fn any_text_is_read_without_a_panic() {
    for text in
        ["Match\n", "Match host\n", "Host\n", "Include\nPort x\nPort\n", "\u{0}=\"", "Match =\n  Port 1", "HostName \"a\\"]
    {
        of(text, "a");
    }
}
