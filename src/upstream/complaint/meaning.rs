//! Decides what caused an error, by its codes and texts: they are more exact than the status.

use crate::upstream::Fault;

/// Returns a word in lower case, without signs: one server sends `rate_limit_exceeded`, another `RateLimitExceeded`.
fn bare(word: &str) -> String {
    word.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// The meaning of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The upstream refuses the content.
    Blocked,
    /// The cause of the error.
    Fault(Fault),
}

/// Sentences about the account behind a channel's key, or about the region that hearken calls from, in lower case.
/// Google and OpenAI send them with statuses and codes that otherwise mean a faulty request. The Chinese ones are from
/// gateways: a low balance, arrears, a low quota, a closed account, a region.
const ACCOUNT_SENTENCES: &[&str] = &[
    "location is not supported",
    "country, region, or territory not supported",
    "in your country",
    "in your region",
    "in your territory",
    "in your location",
    "from your country",
    "from your region",
    "from your location",
    "your country is",
    "your region is",
    "your location is",
    "in good standing",
    "payment required",
    "member of an organization",
    "member of an organisation",
    "余额不足",
    "欠费",
    "额度不足",
    "额度已用尽",
    "账户已",
    "账号已",
    "所在地区",
    "所在的地区",
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

/// Sentences about the key itself, in lower case.
const KEY_SENTENCES: &[&str] = &[
    "api key not valid",
    "api key is not valid",
    "api key is invalid",
    "invalid api key",
    "invalid api-key",
    "invalid x-api-key",
    "incorrect api key",
    "api key expired",
    "api key has expired",
    "api key was reported as leaked",
    "无效的令牌",
    "令牌已过期",
];

/// Names for the account behind a key, in lower case. A sentence with one of them and one of [`CLOSED_STATES`] is about
/// the account.
const ACCOUNT_NAMES: &[&str] =
    &["account", "organization", "organisation", "project", "workspace", "subscription", "consumer"];
const CLOSED_STATES: &[&str] = &[
    "been disabled",
    "is disabled",
    "been suspended",
    "is suspended",
    "been deactivated",
    "is deactivated",
    "been terminated",
    "been blocked",
    "been banned",
    "been deleted",
    "is not active",
    "is inactive",
    "is overdue",
    "is past due",
    "has expired",
    "in arrears",
];

/// Returns the meaning of a code, if it is more exact than the status.
pub(super) fn meaning_of_code(word: &str, status: Option<u16>) -> Option<Meaning> {
    Some(Meaning::Fault(match bare(word).as_str() {
        "contentfilter" | "contentpolicyviolation" | "responsibleaipolicyviolation" | "moderationblocked" => {
            return Some(Meaning::Blocked);
        }
        "insufficientquota"
        | "quotaexceeded"
        | "insufficientbalance"
        | "insufficientcredits"
        | "paymentrequired" => Fault::Quota,
        // Google sends FAILED_PRECONDITION for a region that is not served, and for an account that must pay first.
        "failedprecondition"
        | "unsupportedcountryregionterritory"
        | "unsupportedcountry"
        | "servicedisabled"
        | "consumersuspended"
        | "arrearage"
        | "accountoverdue"
        | "accountdeactivated"
        | "accountdisabled"
        | "accountsuspended"
        | "organizationdisabled"
        | "projectsuspended"
        | "userlocationnotsupported"
        | "accessterminated" => Fault::Account,
        "billinghardlimitreached" => Fault::Quota,
        word if word.contains("billing") => Fault::Account,
        "invalidapikey" | "incorrectapikey" | "apikeyinvalid" | "authenticationerror" => Fault::Credentials,
        "ratelimitexceeded" | "ratelimitreached" | "ratelimiterror" | "toomanyrequests" | "slowdown" => {
            Fault::RateLimit
        }
        "modelnotfound" | "deploymentnotfound" => Fault::NotServed,
        "contextlengthexceeded" => Fault::Request,
        // The status of a rate limit is more exact than a code for an overloaded server.
        "servererror" | "overloaded" | "overloadederror" | "serverisoverloaded"
            if !matches!(status, Some(429 | 501 | 505)) =>
        {
            Fault::Upstream
        }
        _ => return None,
    }))
}

/// Returns the meaning of an error's text, if it is more exact than the status of the response.
pub(super) fn meaning_of_message(message: &str, status: Option<u16>) -> Option<Meaning> {
    let is_refusal = status.is_none_or(|status| matches!(status, 400..=403 | 451));
    if !is_refusal {
        return None;
    }
    let message = message.to_lowercase();
    let tells = |sentences: &[&str]| sentences.iter().any(|sentence| message.contains(sentence));
    let fault = if tells(KEY_SENTENCES) {
        Fault::Credentials
    } else if tells(ACCOUNT_SENTENCES) || (tells(ACCOUNT_NAMES) && tells(CLOSED_STATES)) {
        Fault::Account
    } else {
        return None;
    };
    Some(Meaning::Fault(fault))
}

/// Returns the cause that a code names, for errors without a status.
pub(super) fn fault_of_code(word: &str) -> Option<Fault> {
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
