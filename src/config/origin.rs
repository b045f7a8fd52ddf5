//! Where a key stands in the configuration file, so that a message can name the line.

use toml::de::DeTable;

/// The number of the line that holds the byte at `offset`, from 1.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
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
