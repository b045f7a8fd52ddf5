//! Whose fault an error tells of, by its codes and by its words: they know more than the status.

use crate::upstream::Fault;

/// A word without its case and signs: what one server calls `rate_limit_exceeded`, another calls `RateLimitExceeded`.
fn bare(word: &str) -> String {
    word.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// What an error means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The content is refused.
    Blocked,
    /// This is at fault.
    Fault(Fault),
}

/// Sentences about the account behind a channel's key, and about the place that hearken asks from, in lower case:
/// Google and OpenAI say them with statuses and codes that otherwise mean the request.
const OF_ACCOUNTS: &[&str] = &[
    "location is not supported",
    "country, region, or territory not supported",
    "is not available in your country",
    "is not available in your region",
    "is not available in your location",
    "enable billing",
    "billing is disabled",
    "billing is not enabled",
    "billing account",
    "plans & billing",
    "credit balance",
    "insufficient credit",
    "insufficient balance",
    "insufficient funds",
    "purchase credits",
    "account is not active",
];

/// Returns what a code says that knows more than the status.
pub(super) fn decisive(word: &str, status: Option<u16>) -> Option<Meaning> {
    Some(Meaning::Fault(match bare(word).as_str() {
        "contentfilter" | "contentpolicyviolation" | "responsibleaipolicyviolation" | "moderationblocked" => {
            return Some(Meaning::Blocked);
        }
        "insufficientquota"
        | "quotaexceeded"
        | "insufficientbalance"
        | "insufficientcredits"
        | "paymentrequired" => Fault::Quota,
        // FAILED_PRECONDITION is Google's for a region that is not served and for an account that has to pay first.
        "failedprecondition"
        | "unsupportedcountryregionterritory"
        | "unsupportedcountry"
        | "servicedisabled"
        | "consumersuspended"
        | "accountdeactivated"
        | "accountsuspended"
        | "accessterminated" => Fault::Account,
        "billinghardlimitreached" => Fault::Quota,
        word if word.contains("billing") => Fault::Account,
        "invalidapikey" | "incorrectapikey" | "apikeyinvalid" | "authenticationerror" => Fault::Credentials,
        "ratelimitexceeded" | "ratelimitreached" | "ratelimiterror" | "toomanyrequests" | "slowdown" => {
            Fault::RateLimit
        }
        "modelnotfound" | "deploymentnotfound" => Fault::NotServed,
        "contextlengthexceeded" => Fault::Request,
        // A limit's status says more than that somebody is busy.
        "servererror" | "overloaded" | "overloadederror" | "serverisoverloaded"
            if !matches!(status, Some(429 | 501 | 505)) =>
        {
            Fault::Upstream
        }
        _ => return None,
    }))
}

/// Returns what an error's sentence says that knows more than the status of a refusal.
pub(super) fn by_message(message: &str, status: Option<u16>) -> Option<Meaning> {
    let is_refusal = status.is_none_or(|status| matches!(status, 400..=403 | 451));
    let message = message.to_ascii_lowercase();
    let is_of_account = is_refusal && OF_ACCOUNTS.iter().any(|sentence| message.contains(sentence));
    is_of_account.then_some(Meaning::Fault(Fault::Account))
}

/// Returns what a code says where there is no status.
pub(super) fn hint(word: &str) -> Option<Fault> {
    match bare(word).as_str() {
        "invalidrequesterror" | "badrequesterror" | "badrequest" | "invalidargument" | "validationerror" => {
            Some(Fault::Request)
        }
        "permissionerror" | "permissiondenied" | "unauthorized" | "unauthenticated" => {
            Some(Fault::Credentials)
        }
        "notfounderror" | "notfound" => Some(Fault::NotServed),
        "resourceexhausted" => Some(Fault::RateLimit),
        _ => None,
    }
}
