//! RFC 8259 read slowly: nothing is converted, repeated names stay, and nesting is counted rather
//! than followed, so that no depth overflows the stack.

/// A value's text, and what it is made of.
pub struct Value<'a> {
    pub text: &'a str,
    /// The strings (names too), numbers and words in it; itself, if it is one.
    pub leaves: Vec<&'a str>,
    /// How many arrays and objects lie around its innermost value, itself included.
    pub depth: usize,
}

/// The members of an object in their order, each name as the UTF-16 code units it stands for.
pub type Members<'a> = Vec<(Vec<u16>, Value<'a>)>;

/// A text that is one object.
pub fn object(text: &str) -> Option<Members<'_>> {
    sequence(text, [b'{', b'}'], |reader| {
        let name = string(reader.name()?)?;
        Some((name, reader.value()?))
    })
}

/// A text that is one array.
pub fn array(text: &str) -> Option<Vec<Value<'_>>> {
    sequence(text, [b'[', b']'], Reader::value)
}

/// A text that is one value.
pub fn one(text: &str) -> Value<'_> {
    let value = Reader { text, at: 0 }.value();
    value.expect("it has been read as a value before")
}

/// A text that is one string: the UTF-16 code units it stands for (§7), lone surrogates too.
pub fn string(text: &str) -> Option<Vec<u16>> {
    let mut reader = Reader { text, at: 0 };
    reader.string().filter(|literal| *literal == text)?;
    let mut units = Vec::new();
    let mut characters = text[1..text.len() - 1].chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            units.extend_from_slice(character.encode_utf16(&mut [0; 2]));
            continue;
        }
        units.push(match characters.next()? {
            'b' => 0x8,
            't' => 0x9,
            'n' => 0xA,
            'f' => 0xC,
            'r' => 0xD,
            'u' => {
                let digits: String = characters.by_ref().take(4).collect();
                u16::from_str_radix(&digits, 16).ok()?
            }
            itself => itself as u16,
        });
    }
    Some(units)
}

/// A text that is one number: the nearest `f64`, infinite beyond them.
pub fn number(text: &str) -> Option<f64> {
    let mut reader = Reader { text, at: 0 };
    reader.number().filter(|literal| *literal == text)?;
    text.parse().ok()
}

fn sequence<'a, T>(
    text: &'a str,
    [open, close]: [u8; 2],
    element: impl Fn(&mut Reader<'a>) -> Option<T>,
) -> Option<Vec<T>> {
    let mut reader = Reader { text, at: 0 };
    let mut elements = Vec::new();
    reader.take(open)?;
    if reader.take(close).is_none() {
        loop {
            elements.push(element(&mut reader)?);
            if reader.take(b',').is_none() {
                break;
            }
        }
        reader.take(close)?;
    }
    reader.white_space();
    (reader.at == text.len()).then_some(elements)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn white_space(&mut self) {
        self.skip(|byte| b" \t\n\r".contains(&byte));
    }

    /// How many bytes there are of a kind.
    fn skip(&mut self, kind: impl Fn(u8) -> bool) -> usize {
        let start = self.at;
        while self.peek().is_some_and(&kind) {
            self.at += 1;
        }
        self.at - start
    }

    /// A structural character (§2), after white space.
    fn take(&mut self, structural: u8) -> Option<()> {
        self.white_space();
        (self.peek()? == structural).then(|| self.at += 1)
    }

    /// A name and the colon after it.
    fn name(&mut self) -> Option<&'a str> {
        self.white_space();
        let name = self.string()?;
        self.take(b':')?;
        Some(name)
    }

    fn value(&mut self) -> Option<Value<'a>> {
        self.white_space();
        let start = self.at;
        let (mut leaves, mut closers, mut depth) = (Vec::new(), Vec::new(), 0);
        loop {
            // A value begins.
            let closer = [(b'[', b']'), (b'{', b'}')]
                .into_iter()
                .find_map(|(open, close)| self.take(open).map(|()| close));
            if let Some(closer) = closer {
                closers.push(closer);
                depth = depth.max(closers.len());
                if self.take(closer).is_none() {
                    if closer == b'}' {
                        leaves.push(self.name()?);
                    }
                    continue;
                }
                closers.pop();
            } else {
                let leaf = self.string().or_else(|| self.number());
                leaves.push(leaf.or_else(|| self.word())?);
            }
            // A value has ended, and perhaps what it is the last of.
            while closers
                .last()
                .is_some_and(|closer| self.take(*closer).is_some())
            {
                closers.pop();
            }
            match closers.last() {
                None => break,
                Some(closer) => {
                    self.take(b',')?;
                    if *closer == b'}' {
                        leaves.push(self.name()?);
                    }
                }
            }
        }
        let text = &self.text[start..self.at];
        Some(Value {
            text,
            leaves,
            depth,
        })
    }

    /// §7, from quotation mark to quotation mark.
    fn string(&mut self) -> Option<&'a str> {
        let start = self.at;
        let literal = self.string_literal();
        self.literal(start, literal)
    }

    fn string_literal(&mut self) -> Option<()> {
        (self.peek()? == b'"').then(|| self.at += 1)?;
        loop {
            let byte = self.peek()?;
            self.at += 1;
            match byte {
                b'"' => return Some(()),
                b'\\' => {
                    let escaped = self.peek()?;
                    self.at += 1;
                    if escaped == b'u' {
                        let digits = self.text.as_bytes().get(self.at..self.at + 4)?;
                        digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
                        self.at += 4;
                    } else if !br#""\/bfnrt"#.contains(&escaped) {
                        return None;
                    }
                }
                ..b' ' => return None,
                _ => {}
            }
        }
    }

    /// §6
    fn number(&mut self) -> Option<&'a str> {
        let start = self.at;
        let literal = self.number_literal();
        self.literal(start, literal)
    }

    fn number_literal(&mut self) -> Option<()> {
        let digit = |byte: u8| byte.is_ascii_digit();
        if self.peek()? == b'-' {
            self.at += 1;
        }
        if self.peek()? == b'0' {
            self.at += 1;
        } else if self.skip(digit) == 0 {
            return None;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            (self.skip(digit) > 0).then_some(())?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            (self.skip(digit) > 0).then_some(())?;
        }
        Some(())
    }

    /// §3
    fn word(&mut self) -> Option<&'a str> {
        let rest = self.text.get(self.at..)?;
        let word = ["true", "false", "null"]
            .into_iter()
            .find(|word| rest.starts_with(word))?;
        self.at += word.len();
        Some(word)
    }

    /// What was read since `start`; all of it is taken back if it was no literal.
    fn literal(&mut self, start: usize, read: Option<()>) -> Option<&'a str> {
        let end = self.at;
        if read.is_none() {
            self.at = start;
        }
        read.map(|()| &self.text[start..end])
    }
}
