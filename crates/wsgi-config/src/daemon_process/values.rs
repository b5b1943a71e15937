//! The kinds of values that options have: how each is read, and written back.

use std::time::Duration;

/// A user or group of the machine, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// By name.
    Name(Vec<u8>),
    /// `#1000`.
    Id(u32),
}

/// How new processes take over from old ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Swap {
    /// All new ones are started, then all at once take over.
    #[default]
    Overlap,
    /// One after another.
    Rolling,
}

/// Why a value is refused.
pub(super) enum Refused {
    /// The option has one text for all of it.
    Invalid,
    /// A text for this.
    Because(&'static str),
}

/// A kind of value.
pub(super) struct Kind<T> {
    /// For the documentation.
    pub(super) name: &'static str,
    pub(super) read: fn(&[u8]) -> Result<T, Refused>,
    /// Never asked for what an option that was not given has.
    pub(super) write: fn(&T) -> Vec<u8>,
}

/// A user.
pub(super) const USER: Kind<Option<Account>> = account("user name or `#uid`");
/// A group.
pub(super) const GROUP: Kind<Option<Account>> = account("group name or `#gid`");

/// Several groups; commas without a name between them count as one. The reference takes a list that
/// begins with a comma for an empty one.
pub(super) const GROUPS: Kind<Option<Vec<Account>>> = Kind {
    name: "group names or `#gid`, with commas",
    read: |text| {
        let names = text.split(|byte| *byte == b',').filter(|name| !name.is_empty());
        names.map(Account::read).collect::<Option<_>>().map(Some).ok_or(Refused::Invalid)
    },
    write: |groups| {
        let groups: Vec<_> = groups.iter().flatten().map(Account::write).collect();
        groups.join(&b","[..])
    },
};

/// Any text.
pub(super) const TEXT: Kind<Option<Vec<u8>>> = Kind {
    name: "text",
    read: |text| Ok(Some(text.to_vec())),
    write: |text| text.clone().unwrap_or_default(),
};

/// A path of any kind, or several.
pub(super) const PATH: Kind<Option<Vec<u8>>> = Kind { name: "path", ..TEXT };

/// Several paths.
pub(super) const PATHS: Kind<Option<Vec<u8>>> = Kind { name: "paths, with colons", ..TEXT };

/// A path that starts at the root.
pub(super) const ABSOLUTE: Kind<Option<Vec<u8>>> = Kind {
    name: "absolute path",
    read: |text| {
        if text.starts_with(b"/") { Ok(Some(text.to_vec())) } else { Err(Refused::Invalid) }
    },
    write: TEXT.write,
};

/// A path from the root of an application, or all of its address.
pub(super) const URL: Kind<Option<Vec<u8>>> = Kind {
    name: "URL or absolute path",
    read: |text| {
        let rest = text.strip_prefix(b"http://").or_else(|| text.strip_prefix(b"https://"));
        let is_good = match rest {
            Some(rest) => rest.iter().position(|byte| *byte == b'/').is_some_and(|at| at > 0),
            None => text.starts_with(b"/"),
        };
        let is_visible = text.iter().all(|byte| byte.is_ascii_graphic());
        if is_good && is_visible { Ok(Some(text.to_vec())) } else { Err(Refused::Invalid) }
    },
    write: TEXT.write,
};

/// A whole number, 0 or more.
pub(super) const COUNT: Kind<u32> =
    Kind { name: "number", read: |text| count(text), write: |number| decimal(*number) };

/// A whole number, 1 or more.
pub(super) const POSITIVE: Kind<Option<u32>> = Kind {
    name: "number",
    read: |text| count(text).and_then(|n| if n > 0 { Ok(Some(n)) } else { Err(Refused::Invalid) }),
    write: |number| decimal(number.unwrap_or_default()),
};

/// A whole number of bytes, 1 or more.
pub(super) const SIZE: Kind<Option<u32>> = Kind { name: "bytes", ..POSITIVE };

/// A whole number of bytes, 0 or more, which may be many.
pub(super) const BYTES: Kind<u64> = Kind {
    name: "bytes",
    read: |text| Ok((LIMIT.read)(text)?.unwrap_or_default()),
    write: |bytes| decimal(*bytes),
};

/// Threads: the scoreboard of the reference has room for so many.
pub(super) const THREADS: Kind<u32> = Kind {
    name: "number",
    read: |text| count(text).and_then(|n| if n <= 65533 { Ok(n) } else { Err(Refused::Invalid) }),
    write: COUNT.write,
};

/// A whole number, with any sign.
pub(super) const SIGNED: Kind<i32> =
    Kind { name: "number", read: number, write: |number| decimal(*number) };

/// A limit in bytes; 0 for none.
pub(super) const LIMIT: Kind<Option<u64>> = Kind {
    name: "bytes",
    read: |text| {
        let bytes: i64 = number(text)?;
        let bytes = u64::try_from(bytes).map_err(|_| Refused::Invalid)?;
        Ok((bytes > 0).then_some(bytes))
    },
    write: |bytes| decimal(bytes.unwrap_or_default()),
};

/// A time in whole seconds, where 0 says that there is none.
pub(super) const TIMEOUT: Kind<Option<Duration>> = Kind {
    name: "seconds",
    read: |text| Ok(Some((SECONDS.read)(text)?).filter(|time| !time.is_zero())),
    write: |time| decimal(time.unwrap_or_default().as_secs()),
};

/// A time in whole seconds.
pub(super) const SECONDS: Kind<Duration> = Kind {
    name: "seconds",
    read: |text| Ok(Duration::from_secs(count(text)?.into())),
    write: |time| decimal(time.as_secs()),
};

/// A time in whole milliseconds.
pub(super) const MILLISECONDS: Kind<Duration> = Kind {
    name: "milliseconds",
    read: |text| Ok(Duration::from_millis(count(text)?.into())),
    write: |time| decimal(time.as_millis()),
};

/// A time in seconds with a fraction, more than none.
pub(super) const FRACTION: Kind<Option<Duration>> = Kind {
    name: "seconds, with a fraction",
    read: |text| {
        let seconds: f64 = number(text)?;
        let time = Duration::try_from_secs_f64(seconds).map_err(|_| Refused::Invalid)?;
        // More microseconds than Python has room for would wrap around.
        let is_fit = time >= Duration::from_micros(1) && time <= Duration::from_secs(1 << 31);
        if is_fit { Ok(Some(time)) } else { Err(Refused::Invalid) }
    },
    write: |time| {
        let time = time.unwrap_or_default();
        format!("{}.{:09}", time.as_secs(), time.subsec_nanos()).into_bytes()
    },
};

/// Permissions, in octal.
pub(super) const MODE: Kind<Option<u32>> = Kind {
    name: "octal number",
    read: |text| {
        let is_octal = !text.is_empty() && text.iter().all(|byte| matches!(byte, b'0'..=b'7'));
        let mode = text.iter().try_fold(0, |mode: u32, byte| {
            mode.checked_mul(8)?.checked_add(u32::from(byte.wrapping_sub(b'0')))
        });
        mode.filter(|mode| is_octal && *mode <= 0o777).map(Some).ok_or(Refused::Invalid)
    },
    write: |mode| format!("{:03o}", mode.unwrap_or_default()).into_bytes(),
};

/// `On` or `Off`.
pub(super) const FLAG: Kind<bool> = Kind {
    name: "`On` or `Off`",
    read: |text| crate::words::flag(text).ok_or(Refused::Invalid),
    write: |on| if *on { b"On".to_vec() } else { b"Off".to_vec() },
};

/// How processes are replaced.
pub(super) const SWAP: Kind<Swap> = Kind {
    name: "`overlap` or `rolling`",
    read: |text| match text {
        b"overlap" => Ok(Swap::Overlap),
        b"rolling" => Ok(Swap::Rolling),
        _ => Err(Refused::Invalid),
    },
    write: |swap| match swap {
        Swap::Overlap => b"overlap".to_vec(),
        Swap::Rolling => b"rolling".to_vec(),
    },
};

/// A socket's buffer.
pub(super) const SEND_BUFFER: Kind<u32> = Kind {
    name: "bytes",
    read: |text| {
        at_least(text, 512, "Send buffer size must be >= 512 bytes, or 0 for system default.")
    },
    write: COUNT.write,
};

/// The same in the other direction.
pub(super) const RECEIVE_BUFFER: Kind<u32> = Kind {
    name: "bytes",
    read: |text| {
        at_least(text, 512, "Receive buffer size must be >= 512 bytes, or 0 for system default.")
    },
    write: COUNT.write,
};

/// Room for the longest line of a response's head.
pub(super) const HEADER_BUFFER: Kind<u32> = Kind {
    name: "bytes",
    read: |text| {
        at_least(text, 8192, "Header buffer size must be >= 8192 bytes, or 0 for default.")
    },
    write: COUNT.write,
};

/// What is passed on without a flush.
pub(super) const RESPONSE_BUFFER: Kind<u32> = Kind {
    name: "bytes",
    read: |text| {
        at_least(text, 65536, "Response buffer size must be >= 65536 bytes, or 0 for default.")
    },
    write: COUNT.write,
};

impl Account {
    fn read(text: &[u8]) -> Option<Account> {
        match text {
            b"" => None,
            // The highest number is the system's word for "none".
            [b'#', id @ ..] if id.iter().all(u8::is_ascii_digit) => {
                number(id).ok().filter(|id| *id != u32::MAX).map(Account::Id)
            }
            [b'#', ..] => None,
            name => Some(Account::Name(name.to_vec())),
        }
    }

    fn write(&self) -> Vec<u8> {
        match self {
            Account::Name(name) => name.clone(),
            Account::Id(id) => format!("#{id}").into_bytes(),
        }
    }
}

const fn account(name: &'static str) -> Kind<Option<Account>> {
    Kind {
        name,
        read: |text| Account::read(text).map(Some).ok_or(Refused::Invalid),
        write: |account| account.as_ref().map(Account::write).unwrap_or_default(),
    }
}

/// The whole text as a number; the reference stops at the first byte that is none, and takes
/// nothing for 0.
fn number<T: std::str::FromStr>(text: &[u8]) -> Result<T, Refused> {
    let text = std::str::from_utf8(text).map_err(|_| Refused::Invalid)?;
    text.parse().map_err(|_| Refused::Invalid)
}

/// As large as an `int` may be, and not negative.
fn count(text: &[u8]) -> Result<u32, Refused> {
    let number: i32 = number(text)?;
    u32::try_from(number).map_err(|_| Refused::Invalid)
}

/// 0 or at least so much.
fn at_least(text: &[u8], least: i32, reason: &'static str) -> Result<u32, Refused> {
    let number: i32 = number(text)?;
    if number != 0 && number < least {
        return Err(Refused::Because(reason));
    }
    u32::try_from(number).map_err(|_| Refused::Because(reason))
}

fn decimal(number: impl ToString) -> Vec<u8> {
    number.to_string().into_bytes()
}
