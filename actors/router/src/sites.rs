//! Which sites have answered lately: a feed's own are told from those that nobody has heard of.

use std::sync::Arc;

use jtav_delivery::MediaAccounts;
use jtav_pipeline::site_of_url;
use jtav_schemas::{AbsentReason, MediaRef};
use moka::future::Cache;

use crate::known::MAX_AGE;

/// Sites that are remembered at most; strangers choose their names.
const MAX_SITES: u64 = 4_096;
/// Sites that gave a medium when they were last asked. All others are on one account besides their own: whoever has a
/// domain for every post has one share with them.
#[derive(Debug, Clone)]
pub(crate) struct KnownSites(Cache<Arc<str>, ()>);

impl Default for KnownSites {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(MAX_SITES).time_to_live(MAX_AGE).build())
    }
}

impl KnownSites {
    /// On whose account media are fetched; empty where none of them leads to a server.
    pub(crate) async fn accounts(&self, media: &[&MediaRef]) -> MediaAccounts {
        let mut accounts = MediaAccounts::default();
        for site in media.iter().filter_map(|media| site_of_url(&media.url)) {
            if !accounts.names.contains(&site) {
                accounts.is_stranger |= self.0.get(&site).await.is_none();
                accounts.names.push(site);
            }
        }
        accounts
    }

    /// What came of asking.
    pub(crate) async fn asked<T>(&self, media: &MediaRef, answer: &Result<T, AbsentReason>) {
        let Some(site) = site_of_url(&media.url) else { return };
        match answer {
            Ok(_) => self.0.insert(site, ()).await,
            Err(AbsentReason::Timeout | AbsentReason::FetchFailed) => self.0.invalidate(&site).await,
            // It says nothing of how long the site lets us wait.
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media(url: &str) -> MediaRef {
        MediaRef { url: url.into(), media_type: None, sha256: None, bytes: None }
    }

    #[tokio::test]
    async fn a_site_is_a_stranger_until_it_gives_a_medium_and_from_when_it_fails() {
        let sites = KnownSites::default();
        let (known, other) = (media("http://i.known.example/1"), media("http://other.example/1"));
        let of = async |media: &[&MediaRef]| {
            let accounts = sites.accounts(media).await;
            format!("{}{}", if accounts.is_stranger { "strangers " } else { "" }, accounts.names.join(" "))
        };
        assert_eq!(of(&[&known]).await, "strangers known.example");
        sites.asked(&known, &Ok(())).await;
        sites.asked(&known, &Err::<(), _>(AbsentReason::NotFound)).await;
        assert_eq!(of(&[&known, &known]).await, "known.example");
        assert_eq!(of(&[&known, &other]).await, "strangers known.example other.example");
        sites.asked(&known, &Err::<(), _>(AbsentReason::Timeout)).await;
        assert_eq!(of(&[&known]).await, "strangers known.example");
        assert_eq!(of(&[&media("data:,x"), &media("no URL")]).await, "");
    }
}
