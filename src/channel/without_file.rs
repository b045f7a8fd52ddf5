//! The channels of a server without a configuration file, and what it says of models of providers that it has no channel
//! for.

use super::{ChannelConfig, ChannelEntry};
use crate::setting::{NotText, Problem, Section, Subject, Variables};
use crate::upstream::{KINDS, ModelHint, WithoutFile};

/// Returns the embedded channel, and one of each provider that the environment has an API key for.
///
/// # Errors
/// [`Problem`] where such a key can be none.
pub fn channels_without_file(variables: &Variables) -> Result<Vec<ChannelConfig>, Problem> {
    let mut channels = Vec::new();
    for kind in KINDS {
        if matches!(kind.without_file, WithoutFile::Always) {
            channels.push(ChannelEntry::of_kind(kind, None).checked(&Section::new("channels", variables))?);
        }
    }
    for kind in KINDS {
        if let WithoutFile::WithKey(variable, _) = kind.without_file
            && variables.text(variable)?.is_some()
        {
            let entry = ChannelEntry::of_kind(kind, Some(variable));
            // There is no section that could be named.
            let named = |problem: Problem| problem.about(Subject::Variable(variable.to_owned()));
            channels.push(entry.checked(&Section::new("channels", variables)).map_err(named)?);
        }
    }
    Ok(channels)
}

/// Returns what is to be said of models that no channel serves, given the variables that are set.
///
/// # Errors
/// [`NotText`] where a variable is no text.
pub fn hints_without_file(variables: &Variables) -> Result<Vec<ModelHint>, NotText> {
    let mut hints = Vec::new();
    // First the kinds whose models are the fewer: the first hint that covers a model counts.
    hints.extend(KINDS.iter().filter_map(|kind| match kind.without_file {
        WithoutFile::Never(hint) => hint,
        WithoutFile::Always | WithoutFile::WithKey(..) => None,
    }));
    for kind in KINDS {
        if let WithoutFile::WithKey(variable, hint) = kind.without_file
            && variables.text(variable)?.is_none()
        {
            hints.push(hint);
        }
    }
    Ok(hints)
}
