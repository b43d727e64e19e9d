//! Which of several hosts that fit is best, and how replicas spread.
//!
//! In this order: the branch of each `preferences` entry with the fewest replicas of the service; the host with the fewest
//! replicas of the service, then of the project, then of anybody; the smallest reserved share of CPUs or memory; last a
//! number made of the seed and the names of service and host, so that equals do not all choose the first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::filters::constraint::Key;
use super::site::{Site, mixed};

/// Smaller is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Score {
    of_service: u32,
    of_project: u32,
    of_others: u32,
    reserved_share: u32,
    tie: u64,
    pub(super) site: usize,
}

impl Score {
    /// `of_service`: replicas of the service that are on the host already; `seed` is one per service.
    pub(super) fn of(index: usize, site: &Site, of_service: u32, seed: u64) -> Self {
        Self {
            of_service,
            of_project: site.replicas,
            of_others: site.others,
            reserved_share: site.stock.share(),
            tie: mixed(seed ^ site.hash),
            site: index,
        }
    }
}

/// How an attempt to seat a replica on a host ended.
pub(super) enum Attempt {
    /// It did; this is the host's score now.
    Seated(Score),
    /// The host takes no more replicas of this service.
    Full,
    /// The host does not take this replica, but may take another.
    NotThis,
}

/// The candidates of one service in the order of their scores; a tree where there are preferences, as Swarm has it: each level
/// divides replicas evenly over the values of an attribute, hosts without it being one branch of their own.
#[derive(Debug)]
pub(super) enum Spread {
    Hosts(BinaryHeap<Reverse<Score>>),
    Branches { queue: BinaryHeap<Reverse<(u32, Score, usize)>>, branches: Vec<Spread> },
}

/// An attribute that replicas spread over: which of its values each host has.
#[derive(Debug)]
pub(super) struct Level {
    /// By host: a number for its value.
    values: Vec<usize>,
    count: usize,
}

impl Level {
    pub(super) fn of(key: Key, sites: &[Site]) -> Self {
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        let mut values = Vec::with_capacity(sites.len());
        for site in sites {
            let next = numbers.len();
            values.push(*numbers.entry(key.of(site)).or_insert(next));
        }
        Self { values, count: numbers.len() }
    }
}

impl Spread {
    /// `seated`: replicas of the service on each host so far, also on those that are no candidates.
    pub(super) fn new(levels: &[&Level], candidates: Vec<Score>, seated: &BTreeMap<usize, u32>) -> Self {
        let Some((level, deeper)) = levels.split_first() else {
            return Self::Hosts(candidates.into_iter().map(Reverse).collect());
        };
        let mut by_value: Vec<(Vec<Score>, BTreeMap<usize, u32>)> = vec![Default::default(); level.count];
        for candidate in candidates {
            by_value[level.values[candidate.site]].0.push(candidate);
        }
        for (site, count) in seated {
            by_value[level.values[*site]].1.insert(*site, *count);
        }
        let mut queue = BinaryHeap::new();
        let mut branches = Vec::new();
        for (candidates, seated) in by_value {
            let branch = Self::new(deeper, candidates, &seated);
            if let Some(best) = branch.best() {
                queue.push(Reverse((seated.values().sum(), best, branches.len())));
                branches.push(branch);
            }
        }
        Self::Branches { queue, branches }
    }

    fn best(&self) -> Option<Score> {
        match self {
            Self::Hosts(heap) => heap.peek().map(|Reverse(score)| *score),
            Self::Branches { queue, .. } => queue.peek().map(|Reverse((_, best, _))| *best),
        }
    }

    /// Offers the replica to one host after the other, best first. Returns the one that took it.
    pub(super) fn seat(&mut self, attempt: &mut impl FnMut(usize) -> Attempt) -> Option<usize> {
        match self {
            Self::Hosts(heap) => {
                let mut passed = Vec::new();
                let mut taker = None;
                while let Some(Reverse(score)) = heap.pop() {
                    match attempt(score.site) {
                        Attempt::Full => {}
                        Attempt::NotThis => passed.push(Reverse(score)),
                        Attempt::Seated(score) => {
                            passed.push(Reverse(score));
                            taker = Some(score.site);
                            break;
                        }
                    }
                }
                heap.extend(passed);
                taker
            }
            Self::Branches { queue, branches } => {
                let mut passed = Vec::new();
                let mut taker = None;
                while let Some(Reverse((count, _, branch))) = queue.pop() {
                    taker = branches[branch].seat(attempt);
                    if let Some(best) = branches[branch].best() {
                        passed.push(Reverse((count + u32::from(taker.is_some()), best, branch)));
                    }
                    if taker.is_some() {
                        break;
                    }
                }
                queue.extend(passed);
                taker
            }
        }
    }
}
