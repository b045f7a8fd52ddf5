//! Where a key stands in the configuration file, so that a message can name the line.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The number of the line that holds the byte at `offset`, from 1.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// The dotted key whose name or value holds the byte at `offset`.
pub(super) fn key_at(text: &str, offset: usize) -> Option<String> {
    fn in_table(table: &DeTable<'_>, offset: usize) -> Option<String> {
        table.iter().find_map(|(name, value)| {
            let here = name.get_ref().to_string();
            match in_value(value, offset) {
                Some(rest) if rest.is_empty() => Some(here),
                Some(rest) if rest.starts_with('[') => Some(here + &rest),
                Some(rest) => Some(format!("{here}.{rest}")),
                None => name.span().contains(&offset).then_some(here),
            }
        })
    }
    fn in_value(value: &Spanned<DeValue<'_>>, offset: usize) -> Option<String> {
        match value.get_ref() {
            DeValue::Table(table) => in_table(table, offset),
            DeValue::Array(items) => items.iter().enumerate().find_map(|(index, item)| {
                in_value(item, offset).map(|rest| {
                    if rest.is_empty() { format!("[{index}]") } else { format!("[{index}].{rest}") }
                })
            }),
            _ => value.span().contains(&offset).then(String::new),
        }
    }
    let table = DeTable::parse(text).ok()?;
    in_table(table.get_ref(), offset)
}

/// Where the value of a dotted key stands, or the nearest thing around it that stands in the file.
pub(super) fn offset_of(text: &str, key: &str) -> Option<usize> {
    let table = DeTable::parse(text).ok()?;
    let mut table = Some(table.get_ref());
    let mut offset = None;
    for part in key.split('.') {
        let (name, index) = part
            .split_once('[')
            .map_or((part, None), |(name, rest)| (name, rest.trim_end_matches(']').parse::<usize>().ok()));
        let Some(mut value) = table.and_then(|table| table.get(name)) else { break };
        if let Some(index) = index {
            let Some(item) = value.get_ref().as_array().and_then(|items| items.get(index)) else { break };
            value = item;
        }
        offset = Some(value.span().start);
        table = value.get_ref().as_table();
    }
    offset
}
