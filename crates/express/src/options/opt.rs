//! One option of the command line, as data.
//!
//! What a user can say about an instance is said once, in the tables beside this file. Parsing,
//! `--help`, the page of the documentation and the list that the Django command takes are made
//! from those tables, so none of them can forget an option or disagree about a default.
//!
//! Not here: what an option does. That is for [`crate::plan`] and the templates.

/// What follows the name of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing: it is on or off.
    Flag,
    /// One word of text.
    Text(&'static str),
    /// A whole number; `0x`, `0o` and `0b` forms are understood.
    Integer(&'static str),
    /// A number with a fraction.
    Float(&'static str),
    /// Two words. Such an option can always be repeated.
    Pair(&'static str, &'static str),
}

/// One option.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opt {
    /// The name, without the leading dashes.
    pub(crate) name: &'static str,
    /// Another name that is accepted, and shown nowhere.
    pub(crate) alias: Option<&'static str>,
    pub(crate) takes: Takes,
    /// Can be given several times; otherwise the last one counts.
    pub(crate) repeats: bool,
    /// The value that is used when the option is not given, where that is a plain value.
    pub(crate) default: Option<&'static str>,
    /// The default in words, where it depends on something.
    pub(crate) otherwise: Option<&'static str>,
    pub(crate) help: &'static str,
    /// What it puts into the generated files, for the documentation (Markdown).
    pub(crate) makes: &'static str,
    /// Accepted, but not shown.
    pub(crate) hidden: bool,
}

impl Opt {
    const fn new(name: &'static str, takes: Takes) -> Opt {
        Opt {
            name,
            alias: None,
            takes,
            repeats: matches!(takes, Takes::Pair(..)),
            default: None,
            otherwise: None,
            help: "",
            makes: "",
            hidden: false,
        }
    }

    pub(crate) const fn flag(name: &'static str) -> Opt {
        Opt::new(name, Takes::Flag)
    }

    pub(crate) const fn text(name: &'static str, metavar: &'static str) -> Opt {
        Opt::new(name, Takes::Text(metavar))
    }

    pub(crate) const fn integer(name: &'static str, metavar: &'static str) -> Opt {
        Opt::new(name, Takes::Integer(metavar))
    }

    pub(crate) const fn float(name: &'static str, metavar: &'static str) -> Opt {
        Opt::new(name, Takes::Float(metavar))
    }

    pub(crate) const fn pair(name: &'static str, first: &'static str, second: &'static str) -> Opt {
        Opt::new(name, Takes::Pair(first, second))
    }

    pub(crate) const fn repeats(mut self) -> Opt {
        self.repeats = true;
        self
    }

    pub(crate) const fn alias(mut self, alias: &'static str) -> Opt {
        self.alias = Some(alias);
        self
    }

    pub(crate) const fn default(mut self, value: &'static str) -> Opt {
        self.default = Some(value);
        self
    }

    pub(crate) const fn otherwise(mut self, words: &'static str) -> Opt {
        self.otherwise = Some(words);
        self
    }

    pub(crate) const fn help(mut self, text: &'static str) -> Opt {
        self.help = text;
        self
    }

    pub(crate) const fn makes(mut self, text: &'static str) -> Opt {
        self.makes = text;
        self
    }

    pub(crate) const fn hidden(mut self) -> Opt {
        self.hidden = true;
        self
    }

    /// The words that stand for the values in help texts.
    pub(crate) fn metavars(&self) -> Vec<&'static str> {
        match self.takes {
            Takes::Flag => Vec::new(),
            Takes::Text(name) | Takes::Integer(name) | Takes::Float(name) => vec![name],
            Takes::Pair(first, second) => vec![first, second],
        }
    }
}

/// Options that are about one thing.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) title: &'static str,
    /// What they have in common, for the documentation (Markdown).
    pub(crate) about: &'static str,
    pub(crate) options: &'static [Opt],
}
