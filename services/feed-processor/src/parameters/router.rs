use std::sync::Arc;

use jtav_pipeline::Stages;
use jtav_router::{DecodedRoom, RouterParams};

use super::BoxesParams;

/// How to make a lane before these stages.
pub(crate) fn router_params(params: &BoxesParams, stages: Stages, decoded: DecodedRoom) -> RouterParams {
    let settings = &params.settings;
    RouterParams {
        stages,
        cache: params.cache.clone(),
        model_version: Arc::clone(&params.networks.model_version),
        languages: params.networks.languages.clone(),
        observer: Arc::clone(&params.observer),
        flow: params.flow.clone(),
        post_deadline: settings.router.post_deadline(),
        trial_deadline: settings.router.trial_deadline(),
        fetch_timeout: settings.media.total_timeout(),
        parked_patience: settings.router.parked_deadline(),
        attempts: settings.router.attempts,
        max_text_chars: settings.router.max_text_chars,
        decoded,
    }
}
