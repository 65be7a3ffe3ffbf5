//! URL to bytes, from hosts that are not trusted.
//!
//! ```text
//! attempt (≤ 3) ─► hop (≤ 5 redirects) ─► policy ─► circuit ─► network ─► slot ─► request ─► body: bytes ─► hashes
//!       ▲                                                                                 │
//!       └────────────── 429, 5xx, broken connection: random wait, inside the deadline ────┘
//! ```
//!
//! A slot is taken anew for every hop. It is of the host, and of all downloads, which are shared out by site and by
//! network. Bytes of the budget are taken as they come, whatever post or server declare; a finished body keeps its own.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use jtav_pipeline::{
    FailPoint, FetchRequest, FetchedMedia, MediaFetcher, Receipt, RetryPolicy, Revalidated, fail_point,
};
use jtav_schemas::{AbsentReason, Modality};
use jtav_telemetry::{FetchResult, Metric};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::accept::accept;
use super::address::Denied;
use super::attempt::{Arrived, Body, Downloads, Wanted};
use super::error::FetchSetupError;
use super::failure::{Failure, Retry};
use super::http::receipt::Course;
use super::names::{Dns, Lookup};
use super::params::FetchParams;

/// Downloads media; cheap to clone, all clones share budget, bulkheads and connections.
#[derive(Clone)]
pub struct Fetcher(Arc<Downloads>);

impl Fetcher {
    /// With the system's DNS.
    pub fn new(params: FetchParams) -> Result<Self, FetchSetupError> {
        let dns = Dns::system(params.limits.connect_timeout);
        Self::with_lookup(params, Arc::new(dns))
    }

    /// With a DNS of the caller's; the policy stands all the same.
    pub fn with_lookup(params: FetchParams, lookup: Arc<dyn Lookup>) -> Result<Self, FetchSetupError> {
        let limits = &params.limits;
        if limits.budget_bytes < limits.largest_bytes() {
            // It would wait for more than there is.
            return Err(FetchSetupError::Params("budget_bytes is less than the largest file"));
        }
        if limits.max_per_host == 0 || limits.max_attempts == 0 || limits.max_downloads == 0 {
            return Err(FetchSetupError::Params("max_downloads, max_per_host and max_attempts must be at least 1"));
        }
        Ok(Self(Arc::new(Downloads::new(params, lookup)?)))
    }

    /// Downloads one medium. Dropping the future closes the connection and gives every share back.
    ///
    /// # Errors
    /// Every failure is a reason; those of the network have been tried again as far as the deadline allowed.
    pub async fn fetch(&self, request: FetchRequest) -> Result<FetchedMedia, AbsentReason> {
        match self.ask(request, None).await? {
            Revalidated::Changed(media) => Ok(media),
            // Nobody asked for it.
            Revalidated::Unchanged(_) => Err(AbsentReason::FetchFailed),
        }
    }

    /// Downloads a medium unless its server says that it still is the one of `earlier` (RFC 9110 13). Cancellation safe
    /// as [`Self::fetch`].
    ///
    /// # Errors
    /// As [`Self::fetch`].
    pub async fn revalidate(&self, request: FetchRequest, earlier: Arc<Receipt>) -> Result<Revalidated, AbsentReason> {
        // A post that declares another hash does not want the earlier content, whatever its server says.
        let earlier = Some(earlier).filter(|earlier| earlier.answers(&request.media));
        self.ask(request, earlier).await
    }

    async fn ask(&self, request: FetchRequest, earlier: Option<Arc<Receipt>>) -> Result<Revalidated, AbsentReason> {
        let modality = request.modality;
        let deadline = Instant::from_std(request.deadline);
        let result = match timeout_at(deadline, tries(&self.0, &request, earlier.as_deref(), deadline)).await {
            Ok(result) => result,
            Err(_) => Err(AbsentReason::Timeout),
        };
        let outcome = match &result {
            Ok(Revalidated::Changed(_)) => FetchResult::Ok,
            Ok(Revalidated::Unchanged(_)) => FetchResult::Unchanged,
            Err(reason) => FetchResult::Absent(*reason),
        };
        Metric::media_fetches(modality, outcome).inc();
        result
    }
}

impl MediaFetcher for Fetcher {
    fn fetch(&self, request: FetchRequest) -> BoxFuture<'static, Result<FetchedMedia, AbsentReason>> {
        fail_point::hit(FailPoint::FetchBefore, &request.media.url);
        let fetcher = self.clone();
        Box::pin(async move { Fetcher::fetch(&fetcher, request).await })
    }

    fn revalidate(
        &self,
        request: FetchRequest,
        earlier: Arc<Receipt>,
    ) -> BoxFuture<'static, Result<Revalidated, AbsentReason>> {
        fail_point::hit(FailPoint::FetchBefore, &request.media.url);
        let fetcher = self.clone();
        Box::pin(async move { Fetcher::revalidate(&fetcher, request, earlier).await })
    }
}

/// As many tries as the limits, and the deadline, allow.
async fn tries(
    downloads: &Downloads,
    request: &FetchRequest,
    earlier: Option<&Receipt>,
    deadline: Instant,
) -> Result<Revalidated, AbsentReason> {
    if request.modality == Modality::Text {
        // Text travels in the post; there is no cap that would fit it.
        return Err(AbsentReason::Unsupported);
    }
    let url = Url::parse(&request.media.url).map_err(|error| Failure::from(Denied::from(error)).reason)?;
    let wanted = Wanted { request, cap: downloads.limits.max_bytes(request.modality), earlier };
    let started = Instant::now();
    let policy = RetryPolicy {
        max_attempts: downloads.limits.max_attempts,
        base_delay: downloads.limits.backoff,
        deadline: deadline.saturating_duration_since(started),
        ..RetryPolicy::default()
    };
    let mut failed = 0;
    loop {
        let failure = match downloads.attempt(&url, wanted).await {
            Ok(Arrived::Unchanged(receipt)) => return Ok(Revalidated::Unchanged(receipt)),
            Ok(Arrived::Body(body, course)) => return medium(body, course, request).await,
            Err(failure) => failure,
        };
        failed += 1;
        let least = match failure.retry {
            Retry::Never => return Err(failure.reason),
            Retry::Backoff => Duration::ZERO,
            Retry::After(wait) => wait,
        };
        let Some(pause) = policy.pause_of_at_least(least, failed, started.elapsed(), rand::random()) else {
            return Err(failure.reason);
        };
        tokio::time::sleep(pause).await;
    }
}

/// A body that was read to its end as the medium that the post wanted.
async fn medium(body: Body, course: Course, request: &FetchRequest) -> Result<Revalidated, AbsentReason> {
    let media = accept(request.modality, body.bytes, body.media_type, &request.media).await?;
    let receipt = body.stamp.and_then(|stamp| course.receipt(&stamp, media.content_hash, &request.media));
    Ok(Revalidated::Changed(FetchedMedia { reservation: Some(Arc::new(body.reservation)), receipt, ..media }))
}
