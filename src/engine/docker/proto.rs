//! Messages in protobuf's encoding, as far as BuildKit's API needs them.

/// The fields of a message that have a length; others are passed over, and a damaged message ends.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of four or eight bytes.
    Fixed,
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            5 => self.take(4).map(|_| Value::Fixed)?,
            2 => {
                let count = self.varint()?;
                Value::Bytes(self.take(count)?)
            }
            _ => return None,
        };
        Some((key >> 3, value))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let count = usize::try_from(count).ok().filter(|count| *count <= self.0.len())?;
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        Some(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let (field, Value::Bytes(value)) = self.field()? {
                return Some((field, value));
            }
        }
    }
}

/// The first field of this number that has a length.
pub(super) fn bytes_of(message: &[u8], wanted: u64) -> Option<&[u8]> {
    Fields(message).find(|(field, _)| *field == wanted).map(|(_, value)| value)
}

/// A field that is a number; 0 where it is left out, as protobuf does with 0.
pub(super) fn number_of(message: &[u8], wanted: u64) -> u64 {
    let mut fields = Fields(message);
    while let Some((field, value)) = fields.field() {
        if let (true, Value::Number(number)) = (field == wanted, value) {
            return number;
        }
    }
    0
}

/// A message in the making. What is empty or 0 is left out where protobuf does so.
#[derive(Default)]
pub(super) struct Message(pub(super) Vec<u8>);

impl Message {
    pub(super) fn number(mut self, field: u64, value: u64) -> Self {
        if value != 0 {
            self.varint(field << 3);
            self.varint(value);
        }
        self
    }

    pub(super) fn text(self, field: u64, text: &str) -> Self {
        if text.is_empty() { self } else { self.bytes(field, text.as_bytes()) }
    }

    /// A field with a length, though that be 0.
    pub(super) fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    /// A map of texts.
    pub(super) fn map<'m>(self, field: u64, pairs: impl IntoIterator<Item = (&'m String, &'m String)>) -> Self {
        let entry = |(key, value): (&String, &String)| Self::default().text(1, key).text(2, value).0;
        pairs.into_iter().map(entry).fold(self, |message, entry| message.bytes(field, &entry))
    }

    fn varint(&mut self, mut value: u64) {
        while value > 0x7f {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let long = "x".repeat(300);
        let pairs = BTreeMap::from([("key".to_owned(), "value".to_owned()), ("empty".to_owned(), String::new())]);
        let message =
            Message::default().number(1, 0).number(2, 300).text(3, &long).text(4, "").map(20, &pairs).number(21, u64::MAX);
        assert_eq!((number_of(&message.0, 1), number_of(&message.0, 2), number_of(&message.0, 21)), (0, 300, u64::MAX));
        assert_eq!((bytes_of(&message.0, 3), bytes_of(&message.0, 4)), (Some(long.as_bytes()), None));
        let entries: Vec<&[u8]> = Fields(&message.0).filter(|(field, _)| *field == 20).map(|(_, entry)| entry).collect();
        assert_eq!(entries.len(), 2);
        assert_eq!((bytes_of(entries[1], 1), bytes_of(entries[1], 2)), (Some(b"key".as_slice()), Some(b"value".as_slice())));
    }

    #[test]
    fn a_damaged_message_ends_where_it_is_damaged() {
        let message = Message::default().text(1, "whole").text(2, "broken off").0;
        let fields: Vec<u64> = Fields(&message[..message.len() - 3]).map(|(field, _)| field).collect();
        assert_eq!(fields, [1]);
        assert_eq!(Fields(&[0xff; 11]).count(), 0);
        assert_eq!(number_of(&[8], 1), 0);
    }
}
