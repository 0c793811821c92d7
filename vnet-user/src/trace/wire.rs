//! Numbers as bytes: LEB128, seven bits a byte, and signed ones in zigzag order.

use super::Malformed;

/// Longest LEB128 form of 64 bits.
const LONGEST: usize = 10;

/// Writes a number.
pub(super) fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n.to_le_bytes()[0] | 0x80);
        n >>= 7;
    }
    out.push(n.to_le_bytes()[0]);
}

/// Writes a difference: small ones, of either sign, are short.
pub(super) fn put_signed(out: &mut Vec<u8>, n: i64) {
    put(out, (n << 1 ^ n >> 63).cast_unsigned());
}

/// Writes bytes with their length before them.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    /// Nothing is left.
    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The next bytes.
    pub(super) fn take(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self.0.split_at_checked(n).ok_or(Malformed("it ends too early"))?;
        self.0 = tail;
        Ok(head)
    }

    /// The next number.
    pub(super) fn number(&mut self) -> Result<u64, Malformed> {
        // Nearly all are small.
        if let [byte, rest @ ..] = self.0
            && *byte < 0x80
        {
            self.0 = rest;
            return Ok(u64::from(*byte));
        }
        let mut n = 0;
        for (i, byte) in self.0.iter().take(LONGEST).enumerate() {
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if i == LONGEST - 1 && bits > 1 {
                break;
            }
            n |= bits << (7 * i);
            if byte & 0x80 == 0 {
                self.0 = &self.0[i + 1..];
                return Ok(n);
            }
        }
        Err(Malformed("a number has no end"))
    }

    /// The next number, when it is no larger than `most`.
    pub(super) fn at_most(&mut self, most: usize) -> Result<usize, Malformed> {
        let n = usize::try_from(self.number()?).ok().filter(|n| *n <= most);
        n.ok_or(Malformed("a number is larger than allowed"))
    }

    /// The next number, in fewer bits.
    pub(super) fn narrow<T: TryFrom<u64>>(&mut self) -> Result<T, Malformed> {
        T::try_from(self.number()?).map_err(|_| Malformed("a number is larger than allowed"))
    }

    /// The next difference.
    pub(super) fn signed(&mut self) -> Result<i64, Malformed> {
        let n = self.number()?;
        Ok((n >> 1).cast_signed() ^ -(n & 1).cast_signed())
    }

    /// The next bytes, whose length stands before them.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let n = self.at_most(self.0.len())?;
        self.take(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX];
        let mut out = Vec::new();
        for n in numbers {
            put(&mut out, n);
            put_signed(&mut out, n.cast_signed());
        }
        let mut cursor = Cursor(&out);
        for n in numbers {
            assert_eq!(cursor.number().unwrap(), n);
            assert_eq!(cursor.signed().unwrap(), n.cast_signed());
        }
        assert!(cursor.is_empty() && cursor.number().is_err());
    }

    #[test]
    fn small_differences_are_short() {
        for n in [-64, -1, 0, 63] {
            let mut out = Vec::new();
            put_signed(&mut out, n);
            assert_eq!(out.len(), 1, "{n}");
        }
    }

    #[test]
    fn what_has_no_end_or_too_many_bits_is_refused() {
        for bytes in [
            &[0x80; 9][..],
            &[0xff; 10],
            &[0xff; 20],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
        ] {
            assert!(Cursor(bytes).number().is_err(), "{bytes:?}");
        }
        assert!(Cursor(&[5, 1, 2]).bytes().is_err());
        assert!(Cursor(&[0xff, 0xff, 4]).narrow::<u16>().is_err());
    }
}
