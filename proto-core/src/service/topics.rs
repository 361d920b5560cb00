//! Who wants which topics.

use super::pattern::{Beginnings, Pattern, Topic};
use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    format,
    vec::Vec,
};
use core::{borrow::Borrow, cmp::Ordering, fmt};

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
/// They are held in a tree that branches by segments: what a publisher pays
/// depends on the branches that match on the way, not on how many there are, and each
/// segment on the way is looked at once, whatever wildcards there are. Each
/// subscription adds at most two nodes, however many segments it has, which takes
/// some hundred bytes beside the pattern.
#[derive(Clone)]
pub struct Topics<K> {
    root: Node<K>,
    /// The same by key, for who leaves and for who asks twice.
    by_key: BTreeMap<K, BTreeSet<Pattern>>,
    len: usize,
}

/// A place where patterns end, or part ways.
#[derive(Clone)]
struct Node<K> {
    children: BTreeMap<Label, Node<K>>,
    /// Whose patterns end here.
    keys: BTreeSet<K>,
}

/// The way to a child: one segment or several, wildcards among them. The first one
/// tells it from its siblings, and is all that counts when it is looked for.
#[derive(Clone)]
struct Label(Box<str>);

impl Borrow<str> for Label {
    fn borrow(&self) -> &str {
        split_first(&self.0).0
    }
}

impl Ord for Label {
    fn cmp(&self, other: &Label) -> Ordering {
        Borrow::<str>::borrow(self).cmp(other.borrow())
    }
}

impl PartialOrd for Label {
    fn partial_cmp(&self, other: &Label) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Label {
    fn eq(&self, other: &Label) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Label {}

/// The first segment, and what comes after it.
fn split_first(path: &str) -> (&str, &str) {
    path.split_once('/').unwrap_or((path, ""))
}

/// The segments that both begin with, and what comes after them in each.
fn split_common<'a>(a: &'a str, b: &'a str) -> (&'a str, &'a str, &'a str) {
    let (mut rest_a, mut rest_b) = (a, b);
    while !rest_a.is_empty() {
        let ((first_a, after_a), (first_b, after_b)) = (split_first(rest_a), split_first(rest_b));
        if first_a != first_b {
            break;
        }
        (rest_a, rest_b) = (after_a, after_b);
    }
    let common = a.strip_suffix(rest_a).unwrap_or(a);
    (common.strip_suffix('/').unwrap_or(common), rest_a, rest_b)
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
        self.root.insert(pattern.as_str(), key);
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
        self.root.remove(pattern.as_str(), key);
        self.len = self.len.saturating_sub(1);
    }

    /// Calls `each` once for every key with at least one pattern that matches
    /// `topic`, in the keys' order; for none if
    /// [`check_topic`](super::check_topic) refuses it.
    pub fn matching(&self, topic: &str, each: impl FnMut(&K)) {
        let Ok(topic) = Topic::new(topic) else {
            return;
        };
        let mut keys = Vec::new();
        self.root.matching(&topic, Topic::NOTHING, &mut keys);
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

// A path has at most 32 segments, and so have these recursions.
impl<K: Ord> Node<K> {
    /// Adds `key` to where `path` leads from here.
    fn insert(&mut self, path: &str, key: K) {
        if path.is_empty() {
            self.keys.insert(key);
            return;
        }
        let (label, child) = match self.children.remove_entry(split_first(path).0) {
            Some((label, mut child)) => {
                let (common, old, new) = split_common(&label.0, path);
                if !old.is_empty() {
                    // They part ways on this way.
                    let mut fork = Node::new();
                    fork.children.insert(Label(old.into()), child);
                    child = fork;
                }
                child.insert(new, key);
                (Label(common.into()), child)
            }
            None => {
                let mut end = Node::new();
                end.keys.insert(key);
                (Label(path.into()), end)
            }
        };
        self.children.insert(label, child);
    }

    /// Takes `key` from where `path` leads, and with it the nodes where nothing ends
    /// and nothing parts any more.
    fn remove(&mut self, path: &str, key: &K) {
        if path.is_empty() {
            self.keys.remove(key);
            return;
        }
        let Some((mut label, mut child)) = self.children.remove_entry(split_first(path).0) else {
            return;
        };
        if let (_, "", rest) = split_common(&label.0, path) {
            child.remove(rest, key);
        }
        if child.keys.is_empty() && child.children.len() < 2 {
            let Some((rest, only)) = child.children.pop_first() else {
                return;
            };
            label = Label(format!("{}/{}", label.0, rest.0).into());
            child = only;
        }
        self.children.insert(label, child);
    }

    /// Collects the keys of what matches `topic`, where the way to here matches those
    /// beginnings of it.
    fn matching<'a>(&'a self, topic: &Topic<'_>, reached: Beginnings, keys: &mut Vec<&'a K>) {
        if topic.is_whole(reached) {
            keys.extend(&self.keys);
        }
        for first in topic.next(reached) {
            if let Some((label, child)) = self.children.get_key_value(first) {
                match topic.reach(reached, &label.0) {
                    0 => {}
                    reached => child.matching(topic, reached, keys),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::PatternError, *};

    /// Counted rather than timed: the machine may be busy.
    #[test]
    fn each_segment_of_a_hostile_pattern_is_looked_at_once() -> Result<(), PatternError> {
        const PATTERNS: usize = 64;
        let mut topics = Topics::new();
        let mut segments = 0;
        for n in 0..PATTERNS {
            // Each on a way of its own, at whose every segment the topic may go on.
            let way = [0, 1, 2, 3, 4, 5].map(|bit| if n >> bit & 1 == 0 { "a" } else { "*" });
            let pattern = format!("**/{}{}", way.join("/"), "/*/**".repeat(12));
            topics.insert(&Pattern::new(&pattern)?, n);
            segments += pattern.split('/').count();
        }
        let topic = ["a"; 32].join("/");
        let topic = Topic::new(&topic)?;
        let mut keys = Vec::new();
        topics.root.matching(&topic, Topic::NOTHING, &mut keys);
        assert_eq!(keys.len(), PATTERNS);
        assert!(topic.steps.get() <= segments, "{}", topic.steps.get());
        Ok(())
    }
}
