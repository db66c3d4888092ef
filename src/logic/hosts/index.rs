//! The look-ups behind a list of hosts. How many one request takes depends on its name and on the forms
//! that the list uses, not on how many patterns there are: a list of 10,000 is asked like one of ten.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use crate::proto::target::LABEL_BYTES;

/// The ports of patterns that admit the same hosts, each with its pattern's place in the list.
#[derive(Clone, Debug, Default)]
pub(super) struct Ports(Vec<(u16, usize)>);

impl Ports {
    /// Of two patterns with the same port the first one stays.
    pub(super) fn add(&mut self, port: u16, place: usize) {
        if let Err(at) = self.0.binary_search_by_key(&port, |(port, _)| *port) {
            self.0.insert(at, (port, place));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn at(&self, port: u16) -> Option<usize> {
        let compared = |(listed, _): &(u16, usize)| {
            note_a_look();
            listed.cmp(&port)
        };
        Some(self.0[self.0.binary_search_by(compared).ok()?].1)
    }
}

/// Labels with stars in them, by what stands before the first star, then by what stands after the
/// last, then by the first text between two stars.
#[derive(Clone, Debug, Default)]
pub(super) struct StarredLabels(ByPiece<ByPiece<Middles>>);

/// Labels that begin and end alike.
#[derive(Clone, Debug, Default)]
struct Middles {
    one_star: Ports,
    /// What stands between the first and the last star, whole. Those whose first text is the same too
    /// are tried one after the other: it takes three stars in a label to get there.
    more_stars: ByPiece<Vec<(Box<str>, Ports)>>,
}

impl StarredLabels {
    /// Whether `label` fits `stars`, a label with one star at least and no two in a row.
    pub(super) fn fits(stars: &str, label: &str) -> bool {
        let mut alone = StarredLabels::default();
        alone.ports(stars);
        alone.find(label, |_| Some(())).is_some()
    }

    /// Where the ports of `stars` stand, a label with one star at least and no two in a row.
    pub(super) fn ports(&mut self, stars: &str) -> &mut Ports {
        let (first, rest) = stars.split_once('*').unwrap_or((stars, ""));
        let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
        let middles = self.0.entry(first).entry(last);
        if middle.is_empty() {
            return &mut middles.one_star;
        }
        let piece = middle.split('*').next().unwrap_or_default();
        let listed = middles.more_stars.entry(piece);
        let at = listed.iter().position(|(listed, _)| **listed == *middle).unwrap_or_else(|| {
            listed.push((middle.into(), Ports::default()));
            listed.len() - 1
        });
        &mut listed[at].1
    }

    /// The first that `pick` wants of the ports of all that `label` fits: those with the longest text
    /// before their first star first, of these the ones with the longest after their last.
    pub(super) fn find<T>(
        &self,
        label: &str,
        mut pick: impl FnMut(&Ports) -> Option<T>,
    ) -> Option<T> {
        for len in self.0.lens(label.len()) {
            let (first, left) = label.split_at(len);
            let Some(endings) = self.0.get(first) else { continue };
            for len in endings.lens(left.len()) {
                let (between, last) = left.split_at(left.len() - len);
                if let Some(middles) = endings.get(last)
                    && let Some(found) = middles.find(between, &mut pick)
                {
                    return Some(found);
                }
            }
        }
        None
    }
}

impl Middles {
    fn find<T>(&self, between: &str, pick: &mut impl FnMut(&Ports) -> Option<T>) -> Option<T> {
        for at in 0..between.len() {
            let left = &between[at..];
            for len in self.more_stars.lens(left.len()) {
                let listed = self.more_stars.get(&left[..len]).into_iter().flatten();
                for (middle, ports) in listed {
                    note_a_look();
                    if has_in_order(left, middle)
                        && let Some(found) = pick(ports)
                    {
                        return Some(found);
                    }
                }
            }
        }
        pick(&self.one_star)
    }
}

/// Whether the texts between the stars of `middle` stand in `text` one after the other. Each is taken
/// where it first fits, which leaves the most for the others.
fn has_in_order(mut text: &str, middle: &str) -> bool {
    middle.split('*').all(|piece| match text.find(piece) {
        Some(at) => {
            text = &text[at + piece.len()..];
            true
        }
        None => false,
    })
}

/// Something for each of many pieces of labels.
#[derive(Clone, Debug)]
struct ByPiece<T> {
    of: HashMap<Box<str>, T>,
    /// Bit n is set where a piece has n bytes: other lengths need no look-up.
    lens: u64,
}

impl<T> Default for ByPiece<T> {
    fn default() -> ByPiece<T> {
        ByPiece { of: HashMap::new(), lens: 0 }
    }
}

impl<T: Default> ByPiece<T> {
    fn entry(&mut self, piece: &str) -> &mut T {
        self.lens |= 1 << piece.len();
        self.of.entry(piece.into()).or_default()
    }
}

impl<T> ByPiece<T> {
    /// Lengths of pieces, the longest first, none above `most`.
    fn lens(&self, most: usize) -> impl Iterator<Item = usize> + use<T> {
        let mut lens = self.lens & (u64::MAX >> (LABEL_BYTES - most.min(LABEL_BYTES)));
        std::iter::from_fn(move || {
            let len = lens.checked_ilog2()?;
            lens &= !(1 << len);
            Some(len as usize)
        })
    }

    fn get(&self, piece: &str) -> Option<&T> {
        look_up(&self.of, piece)
    }
}

pub(super) fn look_up<'a, K, Q, V>(map: &'a HashMap<K, V>, key: &Q) -> Option<&'a V>
where
    K: Borrow<Q> + Eq + Hash,
    Q: Eq + Hash + ?Sized,
{
    note_a_look();
    map.get(key)
}

/// Tests hold the number of look-ups and comparisons.
fn note_a_look() {
    #[cfg(test)]
    tests::LOOKS.set(tests::LOOKS.get() + 1);
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        pub(super) static LOOKS: Cell<usize> = const { Cell::new(0) };
    }

    /// Look-ups and comparisons that `asked` takes.
    pub(in super::super) fn looks<T>(asked: impl FnOnce() -> T) -> (T, usize) {
        let before = LOOKS.get();
        let answer = asked();
        (answer, LOOKS.get() - before)
    }

    #[test]
    fn stars_stand_for_any_text() {
        let rows = [
            ("a*", "a", true),
            ("a*", "abc", true),
            ("a*", "ba", false),
            ("*a", "a", true),
            ("*a", "ba", true),
            ("*a", "ab", false),
            ("a*a", "aa", true),
            ("a*a", "a", false),
            ("a*b*", "ab", true),
            ("a*b*", "axbx", true),
            ("a*b*", "axx", false),
            ("*a*b*", "xaxbx", true),
            ("*a*b*", "xbxax", false),
            ("*ab*ab", "abab", true),
            ("*ab*ab", "ab", false),
            ("*ab*ab", "abaab", true),
            ("a*b*c", "abbc", true),
            ("a*bc*c", "abc", false),
        ];
        for (stars, label, expected) in rows {
            let mut labels = StarredLabels::default();
            labels.ports(stars).add(443, 0);
            let found = labels.find(label, |ports| ports.at(443));
            assert_eq!(found.is_some(), expected, "{stars} {label}");
        }
    }

    #[test]
    fn the_longest_beginning_is_found_first_and_then_the_longest_end() {
        let mut labels = StarredLabels::default();
        for (place, stars) in ["*", "a*", "a*c", "a*bc", "ab*", "*c"].into_iter().enumerate() {
            labels.ports(stars).add(443, place);
        }
        for (label, place) in [("x", 0), ("ax", 1), ("axc", 2), ("axbc", 3), ("abbc", 4), ("xc", 5)]
        {
            assert_eq!(labels.find(label, |ports| ports.at(443)), Some(place), "{label}");
        }
    }
}
