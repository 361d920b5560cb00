//! Who wants which topics.

use super::pattern::{ANY, ONE, Pattern, check_topic, segments};
use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    format,
    vec::Vec,
};
use core::{borrow::Borrow, cmp::Ordering, fmt, ptr};

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
/// depends on the branches that match on the way, not on how many there are. Each
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
    /// `topic`, in the keys' order; for none if [`check_topic`] refuses it.
    pub fn matching(&self, topic: &str, each: impl FnMut(&K)) {
        if check_topic(topic).is_err() {
            return;
        }
        let mut places = Places::new(&self.root);
        for segment in segments(topic) {
            places.step(segment);
        }
        let mut keys: Vec<&K> = places.ends().flat_map(|node| &node.keys).collect();
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

// A path has at most 128 segments, and so have these recursions.
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
}

/// A place on the way to a node: `rest` of the label is still to come.
struct Place<'a, K> {
    rest: &'a str,
    node: &'a Node<K>,
}

impl<K> Clone for Place<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Place<'_, K> {}

impl<'a, K> Place<'a, K> {
    /// The place after one more `segment`, as it stands in the pattern.
    fn after(self, segment: &str) -> Option<Place<'a, K>> {
        let (label, node) = if self.rest.is_empty() {
            let (label, node) = self.node.children.get_key_value(segment)?;
            (&*label.0, node)
        } else {
            (self.rest, self.node)
        };
        let (first, rest) = split_first(label);
        (first == segment).then_some(Place { rest, node })
    }
}

/// The places in patterns that match the segments so far.
struct Places<'a, K> {
    /// Those reached by a segment or `*`. The way to each is its only one, so none
    /// is here twice.
    now: Vec<Place<'a, K>>,
    /// Those reached by `**`, which takes all that may follow: they stay.
    lasting: Vec<Place<'a, K>>,
    /// Which of them there are: the same may be reached after each segment anew.
    reached: BTreeSet<(*const Node<K>, usize)>,
}

impl<'a, K> Places<'a, K> {
    fn new(root: &'a Node<K>) -> Places<'a, K> {
        let start = Place {
            rest: "",
            node: root,
        };
        let mut places = Places {
            now: Vec::from([start]),
            lasting: Vec::new(),
            reached: BTreeSet::new(),
        };
        places.reach(start);
        places
    }

    /// Who is at `place` is also behind a `**` that takes nothing.
    fn reach(&mut self, mut place: Place<'a, K>) {
        while let Some(behind) = place.after(ANY) {
            let name = (ptr::from_ref(behind.node), behind.rest.len());
            if !self.reached.insert(name) {
                return;
            }
            self.lasting.push(behind);
            place = behind;
        }
    }

    fn step(&mut self, segment: &str) {
        let next: Vec<Place<'a, K>> = self
            .all()
            .flat_map(|place| [place.after(segment), place.after(ONE)])
            .flatten()
            .collect();
        for place in &next {
            self.reach(*place);
        }
        self.now = next;
    }

    fn all(&self) -> impl Iterator<Item = Place<'a, K>> {
        self.now.iter().chain(&self.lasting).copied()
    }

    /// The nodes that are reached.
    fn ends(&self) -> impl Iterator<Item = &'a Node<K>> {
        self.all()
            .filter(|place| place.rest.is_empty())
            .map(|place| place.node)
    }
}
