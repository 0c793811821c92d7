//! The running kernel's type information: field offsets, enum values, tracepoint prototypes.
//!
//! A reader of our own because aya's gives neither members nor split (module) BTF. The input is checked throughout:
//! it comes from the kernel, but also from files. Format: Documentation/bpf/btf.rst.

use std::{collections::BTreeMap, fmt};

/// Why a lookup failed; says what is missing, for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    /// The bytes are not BTF.
    #[error("not BTF: {0}")]
    Format(&'static str),
    /// No type of that name.
    #[error("this kernel's BTF has no {0} {1}")]
    NoType(Kind, String),
    /// No member of that name.
    #[error("this kernel's struct {0} has no field {1}")]
    NoMember(String, String),
    /// No enumerator of that name.
    #[error("this kernel's BTF has no enumerator {0}")]
    NoEnumerator(String),
    /// Several types of one name that differ in what was asked.
    #[error("this kernel's BTF has several struct {0} that disagree on {1}")]
    Ambiguous(String, String),
}

/// Kinds of type that are looked up by name (`BTF_KIND_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A structure.
    Struct = 4,
    /// An enumeration (also its 64-bit form).
    Enum = 6,
    /// A typedef.
    Typedef = 8,
    /// A function.
    Func = 12,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Struct => "struct",
            Self::Enum => "enum",
            Self::Typedef => "typedef",
            Self::Func => "function",
        })
    }
}

/// Where a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Bits from the start of the structure.
    pub bit: u32,
    /// Bits of a bit-field, 0 for an ordinary member.
    pub bits: u32,
}

impl Member {
    /// Byte that holds its first bit.
    pub fn byte(self) -> u32 {
        self.bit / 8
    }

    /// Mask of the bit-field within that byte; `None` if it is no bit-field or reaches beyond.
    pub fn mask(self) -> Option<u32> {
        let shift = self.bit % 8;
        (self.bits > 0 && shift + self.bits <= 8).then(|| ((1 << self.bits) - 1) << shift)
    }
}

/// Type information: the kernel's own, or the kernel's followed by one module's.
#[derive(Clone, Debug)]
pub struct Btf {
    types: Vec<u8>,
    strings: Vec<u8>,
    /// Start of each type in `types`; index is the type id less one.
    starts: Vec<u32>,
    /// (hash of the name, id), sorted.
    names: Vec<(u32, u32)>,
    /// Likewise, of the module.
    module: Vec<(u32, u32)>,
    /// Lengths of `types`, `strings` and `starts` without the module.
    base: [usize; 3],
}

const NAMED: [u32; 5] = [4, 6, 8, 12, 19];

impl Btf {
    /// Reads one blob, or a base and its split blob; ids run on just as the kernel numbers them.
    pub fn parse(parts: &[&[u8]]) -> Result<Self, BtfError> {
        let mut btf = Self {
            types: Vec::new(),
            strings: Vec::new(),
            starts: Vec::new(),
            names: Vec::new(),
            module: Vec::new(),
            base: [0; 3],
        };
        for (index, part) in parts.iter().enumerate() {
            let names = btf.append(part)?;
            if index == 0 {
                btf.names = names;
                btf.base = [btf.types.len(), btf.strings.len(), btf.starts.len()];
            } else {
                btf.module.extend(names);
                btf.module.sort_unstable();
            }
        }
        Ok(btf)
    }

    /// Has a module follow the kernel, instead of the module that did so far.
    ///
    /// # Errors
    /// When it is not BTF; then no module follows.
    pub fn follow(&mut self, module: &[u8]) -> Result<(), BtfError> {
        self.unfollow();
        match self.append(module) {
            Ok(names) => self.module = names,
            Err(error) => {
                self.unfollow();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Leaves the kernel alone.
    pub fn unfollow(&mut self) {
        let [types, strings, starts] = self.base;
        self.types.truncate(types);
        self.strings.truncate(strings);
        self.starts.truncate(starts);
        self.module.clear();
    }

    /// Takes in the types and strings of a blob; returns its names.
    fn append(&mut self, part: &[u8]) -> Result<Vec<(u32, u32)>, BtfError> {
        let (types, strings) = sections(part).ok_or(BtfError::Format("bad header"))?;
        let mut at = self.types.len();
        self.types.extend_from_slice(types);
        self.strings.extend_from_slice(strings);
        let mut names = Vec::new();
        while at < self.types.len() {
            let size = self.size_at(at).ok_or(BtfError::Format("type cut short"))?;
            self.starts.push(u32::try_from(at).map_err(|_| BtfError::Format("too large"))?);
            let id = u32::try_from(self.starts.len()).map_err(|_| BtfError::Format("too many types"))?;
            if NAMED.contains(&self.kind_at(at)) {
                let name = self.name(self.word(at).unwrap_or(0));
                if !name.is_empty() {
                    names.push((hash(name), id));
                }
            }
            at += size;
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Whether a type is the module's own.
    pub fn is_modules(&self, id: u32) -> bool {
        id as usize > self.base[2]
    }

    /// Id of the first type of that kind and name, as the kernel numbers it.
    pub fn id(&self, kind: Kind, name: &str) -> Result<u32, BtfError> {
        self.ids(kind, name).next().ok_or_else(|| BtfError::NoType(kind, name.to_owned()))
    }

    /// Member of a structure by dotted path; anonymous structures and unions on the way are looked through.
    pub fn member(&self, structure: &str, path: &str) -> Result<Member, BtfError> {
        let mut found: Option<Member> = None;
        for id in self.ids(Kind::Struct, structure) {
            match (self.walk(id, path), found) {
                (Some(member), None) => found = Some(member),
                (Some(member), Some(before)) if member != before => {
                    return Err(BtfError::Ambiguous(structure.to_owned(), path.to_owned()));
                }
                _ => {}
            }
        }
        self.id(Kind::Struct, structure)?;
        found.ok_or_else(|| BtfError::NoMember(structure.to_owned(), path.to_owned()))
    }

    /// Value of an enumerator, whatever its enumeration is called (the low 32 bits).
    pub fn enumerator(&self, name: &str) -> Option<u32> {
        (0..self.starts.len())
            .filter_map(|index| self.enumerators(u32::try_from(index + 1).ok()?))
            .find_map(|mut all| all.find_map(|(label, value)| (label == name).then_some(value)))
    }

    /// Names of an enumeration's values.
    pub fn enumeration(&self, name: &str) -> BTreeMap<u32, String> {
        let ids = self.ids(Kind::Enum, name).filter_map(|id| self.enumerators(id));
        ids.flatten().map(|(label, value)| (value, label.to_owned())).collect()
    }

    /// Bytes of a structure.
    ///
    /// # Errors
    /// When there is none of that name, or several differ in size.
    pub fn size(&self, structure: &str) -> Result<u32, BtfError> {
        self.id(Kind::Struct, structure)?;
        let sizes = self.ids(Kind::Struct, structure).filter_map(|id| self.word(self.start(id)? + 8));
        let sizes: std::collections::BTreeSet<u32> = sizes.collect();
        match sizes.len() {
            1 => Ok(sizes.into_iter().next().unwrap_or(0)),
            _ => Err(BtfError::Ambiguous(structure.to_owned(), "its size".to_owned())),
        }
    }

    /// A function: its id, and how many arguments it takes.
    ///
    /// # Errors
    /// When there is none of that name, or it is described in a way that this reader does not know.
    pub fn function(&self, name: &str) -> Result<(u32, usize), BtfError> {
        let id = self.id(Kind::Func, name)?;
        let proto = self.start(id).and_then(|at| self.start(self.word(at + 8)?));
        let at = proto.filter(|at| self.kind_at(*at) == 13);
        let at = at.ok_or(BtfError::Format("function without a prototype"))?;
        Ok((id, self.vlen_at(at)))
    }

    /// The type of a tracepoint, which `tp_btf` programs attach to.
    pub fn tracepoint(&self, tracepoint: &str) -> Result<u32, BtfError> {
        self.id(Kind::Typedef, &format!("btf_trace_{tracepoint}"))
    }

    /// Arguments of a tracepoint as a `tp_btf` program gets them.
    pub fn tracepoint_args(&self, tracepoint: &str) -> Result<usize, BtfError> {
        let typedef = self.tracepoint(tracepoint)?;
        let proto = self.start(self.resolve(typedef, true)).filter(|at| self.kind_at(*at) == 13);
        let at = proto.ok_or(BtfError::Format("tracepoint without a prototype"))?;
        Ok(self.vlen_at(at).saturating_sub(1)) // the first is the tracepoint's private data
    }

    fn ids<'a>(&'a self, kind: Kind, name: &'a str) -> impl Iterator<Item = u32> + 'a {
        let wanted = hash(name);
        let hashed = move |names: &'a [(u32, u32)]| {
            let first = names.partition_point(|(h, _)| *h < wanted);
            names[first..].iter().take_while(move |(h, _)| *h == wanted).map(|(_, id)| *id)
        };
        hashed(&self.names).chain(hashed(&self.module)).filter(move |id| {
            self.start(*id).is_some_and(|at| {
                let found = self.kind_at(at);
                (found == kind as u32 || (kind == Kind::Enum && found == 19))
                    && self.word(at).is_some_and(|offset| self.name(offset) == name)
            })
        })
    }

    fn walk(&self, mut id: u32, path: &str) -> Option<Member> {
        let mut member = Member { bit: 0, bits: 0 };
        for name in path.split('.') {
            let (next, step) = self.find(id, name, 0)?;
            member = Member { bit: member.bit.checked_add(step.bit)?, bits: step.bits };
            id = next;
        }
        Some(member)
    }

    fn find(&self, id: u32, name: &str, depth: u8) -> Option<(u32, Member)> {
        let at = self.start(self.resolve(id, false))?;
        if depth > 16 || !matches!(self.kind_at(at), 4 | 5) {
            return None;
        }
        let flagged = self.word(at + 4)? >> 31 == 1;
        for index in 0..self.vlen_at(at) {
            let entry = at + 12 + index * 12;
            let (label, inner, raw) =
                (self.name(self.word(entry)?), self.word(entry + 4)?, self.word(entry + 8)?);
            let here = if flagged {
                Member { bit: raw & 0xff_ffff, bits: raw >> 24 }
            } else {
                Member { bit: raw, bits: 0 }
            };
            if label == name {
                return Some((inner, here));
            }
            if label.is_empty()
                && let Some((found, deeper)) = self.find(inner, name, depth + 1)
            {
                let bit = here.bit.checked_add(deeper.bit)?;
                return Some((found, Member { bit, bits: deeper.bits }));
            }
        }
        None
    }

    fn enumerators(&self, id: u32) -> Option<impl Iterator<Item = (&str, u32)>> {
        let at = self.start(id)?;
        let step = match self.kind_at(at) {
            6 => 8,
            19 => 12,
            _ => return None,
        };
        let all = (0..self.vlen_at(at)).filter_map(move |index| {
            let entry = at + 12 + index * step;
            Some((self.name(self.word(entry)?), self.word(entry + 4)?))
        });
        Some(all)
    }

    /// Follows typedefs and qualifiers, and pointers if asked to, to what they stand for.
    fn resolve(&self, mut id: u32, pointers: bool) -> u32 {
        for _ in 0..32 {
            match self.start(id).map(|at| (at, self.kind_at(at))) {
                Some((at, 8..=11 | 18)) => id = self.word(at + 8).unwrap_or(0),
                Some((at, 2)) if pointers => id = self.word(at + 8).unwrap_or(0),
                _ => break,
            }
        }
        id
    }

    fn start(&self, id: u32) -> Option<usize> {
        self.starts.get((id as usize).checked_sub(1)?).map(|at| *at as usize)
    }

    fn word(&self, at: usize) -> Option<u32> {
        word(&self.types, at)
    }

    fn kind_at(&self, at: usize) -> u32 {
        self.word(at + 4).unwrap_or(0) >> 24 & 0x1f
    }

    fn vlen_at(&self, at: usize) -> usize {
        (self.word(at + 4).unwrap_or(0) & 0xffff) as usize
    }

    fn size_at(&self, at: usize) -> Option<usize> {
        let vlen = self.vlen_at(at);
        let more = match self.kind_at(at) {
            1 | 14 | 17 => 4,
            3 => 12,
            4 | 5 | 15 | 19 => 12 * vlen,
            6 | 13 => 8 * vlen,
            2 | 7..=12 | 16 | 18 => 0,
            _ => return None, // a kind newer than this reader: its size is not known
        };
        (at + 12 + more <= self.types.len()).then_some(12 + more)
    }

    fn name(&self, offset: u32) -> &str {
        let tail = self.strings.get(offset as usize..).unwrap_or_default();
        let end = tail.iter().position(|byte| *byte == 0).unwrap_or(0);
        std::str::from_utf8(&tail[..end]).unwrap_or_default()
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// Type and string sections of a blob.
fn sections(blob: &[u8]) -> Option<(&[u8], &[u8])> {
    const MAGIC: u32 = 0xeb9f;
    if word(blob, 0)? & 0xffff != MAGIC {
        return None;
    }
    let header = word(blob, 4)? as usize;
    let section = |offset: usize| {
        let start = header.checked_add(word(blob, offset)? as usize)?;
        blob.get(start..start.checked_add(word(blob, offset + 4)? as usize)?)
    };
    Some((section(8)?, section(16)?))
}

/// FNV-1a: names are short and trusted enough.
fn hash(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests;
