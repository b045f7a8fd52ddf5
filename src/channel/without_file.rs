//! The channels of a server without a configuration file, and its hints for models of providers without a channel.

use super::{ChannelConfig, ChannelEntry};
use crate::setting::{NotText, Problem, Section, Subject, Variables};
use crate::upstream::{KINDS, ModelHint, WithoutFile};

/// Returns the embedded channel, and one channel for each provider whose API key is in the environment.
///
/// # Errors
/// [`Problem`] if such a key is not valid.
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
            // There is no section to name.
            let named = |problem: Problem| problem.with_subject(Subject::Variable(variable.to_owned()));
            channels.push(entry.checked(&Section::new("channels", variables)).map_err(named)?);
        }
    }
    Ok(channels)
}

/// Returns the hints for models that no channel serves, given the variables that are set.
///
/// # Errors
/// [`NotText`] if a variable is not valid text.
pub fn hints_without_file(variables: &Variables) -> Result<Vec<ModelHint>, NotText> {
    let mut hints = Vec::new();
    // Kinds with fewer models come first, because the first hint that covers a model is used.
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
