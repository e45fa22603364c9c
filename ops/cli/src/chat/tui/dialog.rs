//! What lies over the rest: help, menus, and questions that want a line of text.

use shared::{
    config::Secret,
    ids::{Conversation, Device, GroupId, MessageId, UserId},
    message::Ask,
};

use super::input::Input;

/// One of them.
#[derive(Debug, Clone, PartialEq)]
pub enum Dialog {
    /// The keys; how many lines are scrolled away.
    Help(usize),
    /// Choices.
    Menu(Menu),
    /// A question.
    Prompt(Prompt),
}

/// Choices, one under the other.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Menu {
    /// What it is about.
    pub title: String,
    /// Said above the choices.
    pub lines: Vec<String>,
    /// The choices.
    pub choices: Vec<Choice>,
    /// The one that Enter takes.
    pub at: usize,
}

/// One choice.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// As it is shown.
    pub label: String,
    /// What it does.
    pub act: Act,
}

/// What a choice does.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Opens a conversation.
    Open(Conversation),
    /// Makes a request.
    Ask(Ask),
    /// Asks for a line of text first.
    Prompt(Purpose),
    /// Shows what can be done with a person.
    Person(UserId),
    /// Shows a group's members.
    Members(GroupId),
    /// Shows what can be done with one.
    Member(GroupId, UserId),
    /// Shows whom of one's contacts one may add.
    Add(GroupId),
    /// Sends a refused message again, under another id.
    Again(Conversation, MessageId),
    /// Shows one's own devices.
    Devices,
    /// Logs one of them out.
    End(Device),
    /// Forgets it.
    Drop(Conversation, MessageId),
    /// Does it after one more question.
    Sure(String, Box<Act>),
    /// Nothing.
    Close,
}

/// A question that wants a line of text.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    /// What the line is for.
    pub purpose: Purpose,
    /// The line.
    pub input: Input,
    /// Whether an answer is awaited.
    pub waiting: bool,
    /// What was wrong with the last one.
    pub said: String,
}

/// What a line of text is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// A phone number, to find who has it.
    Find,
    /// A new group's name.
    Group,
    /// The phone number of somebody to add.
    Add(GroupId),
    /// A word to somebody who is asked to become a contact.
    Hello(UserId),
    /// Another name for oneself.
    Name,
    /// The password there is, before another one.
    OldPassword,
    /// Another one, with the one there is.
    NewPassword(Secret),
    /// The same once more, with both.
    SamePassword(Secret, Secret),
}

impl Purpose {
    /// The question's title, and what is asked for.
    pub fn words(&self) -> (&'static str, &'static str) {
        match self {
            Self::Find => ("Find a person", "Whole phone number:"),
            Self::Group => ("New group", "Its name:"),
            Self::Add(_) => ("Add to the group", "Whole phone number:"),
            Self::Hello(_) => ("Ask to become a contact", "A word with it (may be empty):"),
            Self::Name => ("Another name", "What others see:"),
            Self::OldPassword => ("Another password", "The one you have now:"),
            Self::NewPassword(_) => ("Another password", "The new one:"),
            Self::SamePassword(..) => ("Another password", "The new one once more:"),
        }
    }

    /// Whether what is typed is not to be seen.
    pub fn is_secret(&self) -> bool {
        matches!(self, Self::OldPassword | Self::NewPassword(_) | Self::SamePassword(..))
    }
}

impl Dialog {
    /// An empty question.
    pub fn prompt(purpose: Purpose) -> Self {
        Self::asking(purpose, "", "")
    }

    /// The same with a text to begin with, and a word on what was wrong before.
    pub fn asking(purpose: Purpose, text: &str, said: &str) -> Self {
        let mut input = Input::default();
        input.insert(text);
        Self::Prompt(Prompt { purpose, input, waiting: false, said: said.to_owned() })
    }
}

impl Menu {
    /// Without choices yet.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    /// With a line above the choices.
    pub fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// With one more choice.
    pub fn choice(mut self, label: impl Into<String>, act: Act) -> Self {
        self.choices.push(Choice { label: label.into(), act });
        self
    }

    /// With one more choice, where that applies.
    pub fn choice_if(self, applies: bool, label: impl Into<String>, act: Act) -> Self {
        if applies { self.choice(label, act) } else { self }
    }

    /// Up or down, round the ends.
    pub fn step(&mut self, by: isize) {
        if !self.choices.is_empty() {
            self.at = (self.at as isize + by).rem_euclid(self.choices.len() as isize) as usize;
        }
    }
}
