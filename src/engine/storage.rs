//! What `df` says of the storage left.

/// The fourth word of the second line, in KiB (POSIX `df -P -k`); returns bytes.
pub fn free_of_df(text: &str) -> Option<u64> {
    let kibibytes: u64 = text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The command that asks for the storage left where a folder is, for a POSIX shell.
pub fn df_command(folder: &str) -> String {
    format!("LC_ALL=C df -Pk -- '{}'", folder.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_free_space_is_read_from_df() {
        let text = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda 264116012 21839360 73829036 23% /\n";
        assert_eq!(free_of_df(text), Some(73_829_036 * 1024));
        assert_eq!(free_of_df("df: /nowhere: No such file or directory"), None);
    }

    #[test]
    fn a_folder_is_one_word_whatever_is_in_it() {
        assert_eq!(df_command("/a b/c'd"), r"LC_ALL=C df -Pk -- '/a b/c'\''d'");
    }
}
