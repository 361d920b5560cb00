//! Who wants which topics.

use super::pattern::{ANY, ONE, Pattern, check_topic, segments};
use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::{fmt, ptr};

/// Subscriptions: pairs of a [`Pattern`] and a key that says whose it is (the
/// number of a connection, say).
///
/// ```
/// use sealpipe_core::service::{Pattern, Topics};
/// let mut topics = Topics::new();
/// topics.insert(&Pattern::new("jobs/*")?, 1);
/// topics.insert(&Pattern::new("**")?, 1);
/// topics.insert(&Pattern::new("users/*")?, 2);
/// let mut found = Vec::new();
/// topics.matching("jobs/7", |key| found.push(*key));
/// assert_eq!(found, [1]);
/// # Ok::<(), sealpipe_core::service::PatternError>(())
/// ```
///
/// They are held in a tree with a level for each segment: what a publisher pays
/// depends on the branches that match on the way, not on how many there are.
#[derive(Clone)]
pub struct Topics<K> {
    root: Node<K>,
    /// The same by key, for who leaves and for who asks twice.
    by_key: BTreeMap<K, BTreeSet<Pattern>>,
    len: usize,
}

#[derive(Clone)]
struct Node<K> {
    /// By segment; wildcards are segments like others here.
    children: BTreeMap<Box<str>, Node<K>>,
    /// Whose patterns end here.
    keys: BTreeSet<K>,
}

impl<K: Ord + Clone> Topics<K> {
    /// No subscriptions.
    pub const fn new() -> Topics<K> {
        Topics {
            root: Node::new(),
            by_key: BTreeMap::new(),
            len: 0,
        }
    }

    /// Adds a subscription; false if it was there.
    pub fn insert(&mut self, pattern: &Pattern, key: K) -> bool {
        let patterns = self.by_key.entry(key.clone()).or_default();
        if !patterns.insert(pattern.clone()) {
            return false;
        }
        let mut node = &mut self.root;
        for segment in segments(pattern.as_str()) {
            // Asked first, so that only a new branch allocates.
            if !node.children.contains_key(segment) {
                node.children.insert(segment.into(), Node::new());
            }
            let Some(child) = node.children.get_mut(segment) else {
                return false;
            };
            node = child;
        }
        node.keys.insert(key);
        self.len = self.len.saturating_add(1);
        true
    }

    /// Takes a subscription back; false if it was not there.
    pub fn remove(&mut self, pattern: &Pattern, key: &K) -> bool {
        let Some(patterns) = self.by_key.get_mut(key) else {
            return false;
        };
        if !patterns.remove(pattern) {
            return false;
        }
        if patterns.is_empty() {
            self.by_key.remove(key);
        }
        self.forget(pattern, key);
        true
    }

    /// Takes back all that `key` has; how many those were.
    pub fn remove_all(&mut self, key: &K) -> usize {
        let patterns = self.by_key.remove(key).unwrap_or_default();
        for pattern in &patterns {
            self.forget(pattern, key);
        }
        patterns.len()
    }

    fn forget(&mut self, pattern: &Pattern, key: &K) {
        self.root.remove(segments(pattern.as_str()), key);
        self.len = self.len.saturating_sub(1);
    }

    /// Calls `each` once for every key with at least one pattern that matches
    /// `topic`, in the keys' order; for none if [`check_topic`] refuses it.
    pub fn matching(&self, topic: &str, each: impl FnMut(&K)) {
        if check_topic(topic).is_err() {
            return;
        }
        let mut places = Places::new(&self.root);
        for segment in segments(topic) {
            places.step(segment);
        }
        let mut keys: Vec<&K> = places.nodes().flat_map(|node| &node.keys).collect();
        // Made of sorted runs, which this kind of sort only merges.
        keys.sort();
        keys.dedup();
        keys.into_iter().for_each(each);
    }

    /// How many subscriptions there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many subscriptions `key` has.
    pub fn count(&self, key: &K) -> usize {
        self.by_key.get(key).map_or(0, BTreeSet::len)
    }
}

impl<K: Ord + Clone> Default for Topics<K> {
    fn default() -> Topics<K> {
        Topics::new()
    }
}

/// Shows how many there are: topics belong to those who use them.
impl<K> fmt::Debug for Topics<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topics")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl<K> Node<K> {
    const fn new() -> Node<K> {
        Node {
            children: BTreeMap::new(),
            keys: BTreeSet::new(),
        }
    }
}

impl<K: Ord> Node<K> {
    /// Takes `key` from the end of the path, and with it the branches that hold
    /// nothing more. A path has at most 128 segments, and so has this recursion.
    fn remove<'a>(&mut self, mut path: impl Iterator<Item = &'a str>, key: &K) {
        let Some(segment) = path.next() else {
            self.keys.remove(key);
            return;
        };
        if let Some(child) = self.children.get_mut(segment) {
            child.remove(path, key);
            if child.children.is_empty() && child.keys.is_empty() {
                self.children.remove(segment);
            }
        }
    }
}

/// The nodes where patterns stand that match the segments so far.
struct Places<'a, K> {
    /// Those reached by a segment or `*`. The way to each is its only one, so none
    /// is here twice.
    now: Vec<&'a Node<K>>,
    /// Those reached by `**`, which takes all that may follow: they stay.
    lasting: Vec<&'a Node<K>>,
    /// Which of them there are: the same may be reached after each segment anew.
    reached: BTreeSet<*const Node<K>>,
}

impl<'a, K> Places<'a, K> {
    fn new(root: &'a Node<K>) -> Places<'a, K> {
        let mut places = Places {
            now: Vec::from([root]),
            lasting: Vec::new(),
            reached: BTreeSet::new(),
        };
        places.reach(root);
        places
    }

    /// What is at `node` is also behind a `**` that takes nothing.
    fn reach(&mut self, mut node: &'a Node<K>) {
        while let Some(child) = node.children.get(ANY) {
            if !self.reached.insert(ptr::from_ref(child)) {
                return;
            }
            self.lasting.push(child);
            node = child;
        }
    }

    fn step(&mut self, segment: &str) {
        let next: Vec<&'a Node<K>> = self
            .nodes()
            .flat_map(|node| [node.children.get(segment), node.children.get(ONE)])
            .flatten()
            .collect();
        for node in &next {
            self.reach(node);
        }
        self.now = next;
    }

    fn nodes(&self) -> impl Iterator<Item = &'a Node<K>> {
        self.now.iter().chain(&self.lasting).copied()
    }
}
