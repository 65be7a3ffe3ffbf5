//! Which hosts a person lets media come from, by name: a list of those that may, a list of those that must not. Pure.
//!
//! A rule is an exact name (`cdn.example.org`), every name below one (`*.example.org`, without `example.org` itself) or
//! an address (`192.0.2.7`, `2001:db8::7`). Rules and hosts are compared as the URL parser writes them: lower case,
//! international names in punycode, every notation of an address as the address. These lists only narrow what the
//! address policy allows; a name on the first of them still has to resolve to public addresses.

use std::net::IpAddr;
use std::str::FromStr;

use url::Host;

/// One entry of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostRule {
    /// This name and no other.
    Name(String),
    /// Names that end in a dot and this.
    Below(String),
    /// This address, where a URL names it instead of a host.
    Address(IpAddr),
}

/// An entry that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no host: give a name (cdn.example.org), `*.` and a name, or an address")]
pub struct ParseHostRuleError(String);

impl ParseHostRuleError {
    /// The text stays what it is.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

impl FromStr for HostRule {
    type Err = ParseHostRuleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseHostRuleError(text.to_owned());
        if let Ok(ip) = text.parse() {
            return Ok(Self::Address(ip));
        }
        let (below, name) = text.strip_prefix("*.").map_or((false, text), |name| (true, name));
        match Host::parse(name).map_err(|_| wrong())? {
            // A dot at the end would never match: such hosts are refused before.
            Host::Domain(name) if name.is_empty() || name.ends_with('.') || name.contains('*') => Err(wrong()),
            Host::Domain(name) if below => Ok(Self::Below(name)),
            Host::Domain(name) => Ok(Self::Name(name)),
            _ if below => Err(wrong()),
            Host::Ipv4(ip) => Ok(Self::Address(ip.into())),
            Host::Ipv6(ip) => Ok(Self::Address(ip.into())),
        }
    }
}

impl HostRule {
    /// Does it speak of this host? `host` is as the URL parser gives it.
    pub fn matches(&self, host: &Host<&str>) -> bool {
        match (self, host) {
            (Self::Name(rule), Host::Domain(name)) => rule.eq_ignore_ascii_case(name),
            (Self::Below(rule), Host::Domain(name)) => {
                let name = name.as_bytes();
                let Some(dot) = name.len().checked_sub(rule.len() + 1) else { return false };
                // At least one character before the dot.
                dot > 0 && name[dot] == b'.' && name[dot + 1..].eq_ignore_ascii_case(rule.as_bytes())
            }
            (Self::Address(rule), Host::Ipv4(ip)) => *rule == IpAddr::from(*ip),
            (Self::Address(rule), Host::Ipv6(ip)) => *rule == IpAddr::from(*ip),
            _ => false,
        }
    }
}

/// Both lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostRules {
    /// Only these, if there is one.
    pub allow: Vec<HostRule>,
    /// Never these, whatever the other list says.
    pub deny: Vec<HostRule>,
}

impl HostRules {
    /// May media come from this host, as far as these lists go?
    pub fn allows(&self, host: &Host<&str>) -> bool {
        let named = |rules: &[HostRule]| rules.iter().any(|rule| rule.matches(host));
        !named(&self.deny) && (self.allow.is_empty() || named(&self.allow))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::*;

    fn rules(allow: &[&str], deny: &[&str]) -> HostRules {
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        HostRules { allow: parse(allow), deny: parse(deny) }
    }

    fn allows(rules: &HostRules, url: &str) -> bool {
        rules.allows(&Url::parse(url).unwrap().host().unwrap())
    }

    #[test]
    fn a_star_stands_for_everything_below_a_name_and_not_for_the_name() {
        let rules = rules(&["*.example.org", "example.com"], &[]);
        for url in
            ["https://a.example.org/", "http://a.b.example.org/", "http://example.com/", "http://EXAMPLE.com:80/"]
        {
            assert!(allows(&rules, url), "{url}");
        }
        for url in [
            "https://example.org/",
            "https://notexample.org/",
            "https://a.example.org.evil.net/",
            "https://evil.net/?a.example.org",
            "https://a.example.com/",
            "https://.example.org/",
            "http://192.0.2.7/",
        ] {
            assert!(!allows(&rules, url), "{url}");
        }
    }

    #[test]
    fn the_list_of_those_that_must_not_wins() {
        let both = rules(&["*.example.org"], &["bad.example.org", "*.bad.example.org"]);
        assert!(allows(&both, "http://good.example.org/"));
        assert!(!allows(&both, "http://bad.example.org/"));
        assert!(!allows(&both, "http://very.bad.example.org/"));
        let only_deny = rules(&[], &["example.org"]);
        assert!(allows(&only_deny, "http://www.example.org/") && !allows(&only_deny, "http://example.org/"));
    }

    #[test]
    fn international_names_and_addresses_are_compared_as_the_parser_writes_them() {
        let deny =
            rules(&[], &["bücher.example", "*.straße.example", "8.8.8.8", "2606:4700::1111", "[2606:4700::1001]"]);
        for url in [
            "http://bücher.example/",
            "http://BÜCHER.example/",
            "http://xn--bcher-kva.example/",
            "http://b%C3%BCcher.example/",
            "http://a.straße.example/",
            "http://8.8.8.8/",
            "http://0x08080808/",
            "http://134744072/",
            "http://[2606:4700:0:0::1111]/",
            "http://[2606:4700::1001]/",
        ] {
            assert!(!allows(&deny, url), "{url}");
        }
        assert!(allows(&deny, "http://8.8.4.4/") && allows(&deny, "http://bucher.example/"));
    }

    #[test]
    fn what_can_never_match_is_no_rule() {
        for text in [
            "",
            "*",
            "*.",
            "*.*.example.org",
            "a.*.org",
            "example.org.",
            "*.8.8.8.8",
            "a b",
            "http://a.org",
            "a/b",
            "a:80",
        ] {
            assert!(text.parse::<HostRule>().is_err(), "{text:?}");
        }
    }

    fn label() -> impl Strategy<Value = String> {
        "[a-c]{1,2}"
    }

    fn name() -> impl Strategy<Value = String> {
        prop::collection::vec(label(), 1..4).prop_map(|labels| labels.join(".") + ".test")
    }

    proptest! {
        #[test]
        fn a_host_is_let_through_exactly_if_some_rule_allows_it_and_none_denies_it(
            allow in prop::collection::vec((any::<bool>(), name()), 0..4),
            deny in prop::collection::vec((any::<bool>(), name()), 0..4),
            host in name(),
            shout in any::<bool>(),
        ) {
            // Said once more with whole labels instead of bytes.
            let says = |(below, name): &(bool, String)| {
                let (rule, host): (Vec<_>, Vec<_>) = (name.split('.').collect(), host.split('.').collect());
                if *below { host.len() > rule.len() && host.ends_with(&rule) } else { host == rule }
            };
            let expected = !deny.iter().any(says) && (allow.is_empty() || allow.iter().any(says));
            let parse = |list: &[(bool, String)]| {
                list.iter().map(|(below, name)| format!("{}{name}", if *below { "*." } else { "" }).parse().unwrap()).collect()
            };
            let rules = HostRules { allow: parse(&allow), deny: parse(&deny) };
            let host = if shout { host.to_uppercase() } else { host.clone() };
            prop_assert_eq!(allows(&rules, &format!("http://{host}/")), expected);
        }
    }
}
