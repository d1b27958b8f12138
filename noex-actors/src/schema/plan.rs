//! What is known of a type so far, and what the next value of it shall be made of.
//!
//! A `Deserialize` shows one way through a type at a time: one variant of an enum, all fields of a struct or as many as it can do
//! without. So values are made until every way was gone, or as often as is allowed.

use super::{Field, Shape, Variant};

/// Most values that are made of one type.
const MAX_PASSES: usize = 2_000;
/// Most places in one type.
const MAX_NODES: usize = 4_000;
/// Deepest place that is looked at: with it, a schema stays within what a decoder follows.
pub(super) const MAX_NESTING: usize = 18;

/// How far a variant is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Not,
    /// It leads back to its own type: once more, when another variant is known.
    Later,
    Yes,
    /// No value of it could be made.
    Hidden,
}

/// A place in the type.
#[derive(Clone)]
pub(super) enum Place {
    Unseen,
    Leaf(Shape),
    Maybe,
    List,
    Map,
    Tuple,
    Struct {
        names: &'static [&'static str],
        /// A value with all fields was made.
        whole: bool,
        /// How many of the last fields have defaults, and whether that is all of them.
        optional: usize,
        settled: bool,
    },
    Enum {
        names: &'static [&'static str],
    },
}

struct Node {
    place: Place,
    children: Vec<usize>,
    known: Vec<Known>,
    sample: usize,
    /// It lies inside of its own type: not for the schema.
    again: bool,
}

/// What is known of a type.
pub(super) struct Plan {
    nodes: Vec<Node>,
    /// Types that are being made, from the outside in: their names and places.
    within: Vec<(&'static str, usize)>,
    /// Variants that are being tried for the first time.
    trying: Vec<(usize, usize)>,
    /// The last simple value that was given, and how many others there are.
    last: Option<(usize, usize)>,
    /// A field was held back in this pass.
    pub(super) held_back: bool,
    /// The pass ended because the type leads back to itself.
    pub(super) endless: bool,
    progress: bool,
    pub(super) passes: usize,
}

impl Plan {
    pub(super) fn new() -> Self {
        let mut plan = Self {
            nodes: Vec::new(),
            within: Vec::new(),
            trying: Vec::new(),
            last: None,
            held_back: false,
            endless: false,
            progress: false,
            passes: 0,
        };
        plan.add(false);
        plan
    }

    fn add(&mut self, again: bool) -> usize {
        let (children, known) = (Vec::new(), Vec::new());
        self.nodes.push(Node { place: Place::Unseen, children, known, sample: 0, again });
        self.progress = true;
        self.nodes.len() - 1
    }

    /// The place below another; `None` if there are too many.
    pub(super) fn child(&mut self, at: usize, index: usize) -> Option<usize> {
        while self.nodes[at].children.len() <= index {
            if self.nodes.len() >= MAX_NODES {
                return None;
            }
            let child = self.add(self.nodes[at].again);
            self.nodes[at].children.push(child);
        }
        Some(self.nodes[at].children[index])
    }

    pub(super) fn see(&mut self, at: usize, place: Place) {
        let node = &mut self.nodes[at];
        if matches!(node.place, Place::Unseen) {
            if let Place::Enum { names } = place {
                node.known = vec![Known::Not; names.len()];
            }
            node.place = place;
            self.progress = true;
        }
    }

    /// Which of `samples` simple values comes next at that place.
    pub(super) fn sample(&mut self, at: usize, samples: usize) -> usize {
        self.last = Some((at, samples));
        self.nodes[at].sample.min(samples - 1)
    }

    /// Whether the place lies inside of its own type, where the shortest value is the best.
    pub(super) fn is_again(&self, at: usize) -> bool {
        self.nodes[at].again
    }

    /// A struct or an enum begins.
    pub(super) fn enter(&mut self, at: usize, name: &'static str) {
        if self.within.iter().any(|(outer, _)| *outer == name) {
            self.nodes[at].again = true;
        }
        self.within.push((name, at));
    }

    pub(super) fn leave(&mut self) {
        self.within.pop();
    }

    /// How many fields of a struct to give. All, unless it is known whole, and whether it can do without the last ones is not.
    pub(super) fn fields(&mut self, at: usize, len: usize) -> usize {
        let settled = self.nodes[at].children.iter().all(|child| self.done(*child));
        match self.nodes[at].place {
            Place::Struct { whole: true, optional, settled: false, .. }
                if settled && !self.held_back && !self.nodes[at].again =>
            {
                self.held_back = true;
                len - optional - 1
            }
            _ => len,
        }
    }

    /// A struct was made of so many fields, or could not be.
    pub(super) fn made(&mut self, at: usize, given: usize, ok: bool) {
        let Place::Struct { names, whole, optional, settled } = &mut self.nodes[at].place else { return };
        if given == names.len() {
            self.progress |= ok && !*whole;
            *whole |= ok;
            *settled |= names.is_empty();
        } else {
            self.progress = true;
            if ok {
                *optional = names.len() - given;
            }
            *settled |= !ok || given == 0;
        }
    }

    /// Which variant comes next at that place.
    pub(super) fn choose(&mut self, at: usize) -> Option<usize> {
        let find = |node: &Node, wanted: Known| node.known.iter().position(|known| *known == wanted);
        let node = &self.nodes[at];
        if node.again {
            // The shortest way out: what the outer one could be made of.
            let name = self.within.last()?.0;
            let outer = self.within.iter().find(|(outer, _)| *outer == name)?.1;
            let known = find(&self.nodes[outer], Known::Yes).or_else(|| find(node, Known::Yes));
            return known.or(Some(0));
        }
        if let Some(index) = find(node, Known::Not) {
            self.trying.push((at, index));
            return Some(index);
        }
        let open = |index: &usize| {
            node.known[*index] == Known::Yes
                && node.children.get(*index).is_some_and(|child| !self.done(*child))
        };
        if let Some(index) = (0..node.known.len()).find(open) {
            return Some(index);
        }
        let some = find(node, Known::Yes);
        if let (Some(index), Some(_)) = (find(node, Known::Later), some) {
            self.trying.push((at, index));
            return Some(index);
        }
        some
    }

    /// A value of that variant was made.
    pub(super) fn chosen(&mut self, at: usize, index: usize) {
        self.trying.retain(|tried| *tried != (at, index));
        if let Some(known) = self.nodes[at].known.get_mut(index)
            && *known != Known::Yes
        {
            *known = Known::Yes;
            self.progress = true;
        }
    }

    /// Whether nothing more is to be found out below a place.
    fn done(&self, at: usize) -> bool {
        let node = &self.nodes[at];
        let below = || node.children.iter().all(|child| self.done(*child));
        match &node.place {
            _ if node.again => true,
            Place::Unseen | Place::Leaf(_) => true,
            Place::Struct { settled, .. } => *settled && below(),
            Place::Enum { .. } => {
                !node.known.iter().any(|known| matches!(known, Known::Not | Known::Later)) && below()
            }
            Place::Maybe | Place::List | Place::Map | Place::Tuple => below(),
        }
    }

    /// A value was made or could not be; whether to make another.
    pub(super) fn next(&mut self, ok: bool) -> bool {
        if !ok && !self.held_back {
            self.failed();
        }
        self.within.clear();
        self.trying.clear();
        self.last = None;
        self.passes += 1;
        let more = std::mem::take(&mut self.progress) && !self.done(0) && self.passes < MAX_PASSES;
        self.held_back = false;
        self.endless = false;
        more
    }

    /// Another simple value may do; if none does, that variant does not show itself.
    fn failed(&mut self) {
        if let Some((at, samples)) = self.last
            && !self.endless
        {
            self.progress = true;
            self.nodes[at].sample += 1;
            if self.nodes[at].sample < samples {
                return;
            }
            self.nodes[at].sample = 0;
        }
        match self.trying.last().copied() {
            Some((at, index)) => {
                let known = &mut self.nodes[at].known[index];
                *known = if self.endless && *known == Known::Not { Known::Later } else { Known::Hidden };
                self.progress = true;
            }
            None => self.nodes[0].place = Place::Leaf(Shape::Unknown),
        }
    }

    pub(super) fn shape(&self, at: usize) -> Shape {
        let node = &self.nodes[at];
        let child =
            |index: usize| node.children.get(index).map_or(Shape::Unknown, |child| self.shape(*child));
        match &node.place {
            _ if node.again => Shape::Unknown,
            Place::Unseen => Shape::Unknown,
            Place::Leaf(shape) => shape.clone(),
            Place::Maybe => Shape::Maybe(Box::new(child(0))),
            Place::List => Shape::List(Box::new(child(0))),
            Place::Map => Shape::Map(Box::new((child(0), child(1)))),
            Place::Tuple => Shape::Tuple((0..node.children.len()).map(child).collect()),
            Place::Struct { names, optional, .. } => {
                let field = |(index, name): (usize, &&str)| Field {
                    name: (*name).to_owned(),
                    shape: child(index),
                    required: index + optional < names.len(),
                };
                Shape::Struct(names.iter().enumerate().map(field).collect())
            }
            Place::Enum { names } => {
                let variant = |(index, name): (usize, &&str)| Variant {
                    name: (*name).to_owned(),
                    shape: if node.known[index] == Known::Yes { child(index) } else { Shape::Unknown },
                };
                Shape::Enum(names.iter().enumerate().map(variant).collect())
            }
        }
    }
}
