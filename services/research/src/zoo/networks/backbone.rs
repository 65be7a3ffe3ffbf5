//! The three published image networks up to their last feature.

use jtav_model::ModelError;
use jtav_model::networks::{DenseNet, DenseNetConfig};
use jtav_model::parameters::Scope;
use tch::{Kind, Tensor};

use super::resnet::ResNet101;
use super::vgg::Vgg19;
use crate::zoo::architecture::Backbone;

/// A backbone with torchvision's parameter names.
pub(crate) enum BackboneNetwork {
    Vgg(Vgg19),
    ResNet(ResNet101),
    DenseNet(DenseNet),
}

impl BackboneNetwork {
    pub fn new(scope: &Scope, backbone: Backbone) -> Result<Self, ModelError> {
        Ok(match backbone {
            Backbone::Vgg19 => Self::Vgg(Vgg19::new(scope)?),
            Backbone::ResNet101 => Self::ResNet(ResNet101::new(scope)?),
            Backbone::DenseNet121 => Self::DenseNet(DenseNet::new(scope, DenseNetConfig::DENSENET_121)?),
        })
    }

    /// `[batch, features]` of `[batch, 3, side, side]`, normalised.
    pub fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        match self {
            Self::Vgg(network) => network.forward(x),
            Self::ResNet(network) => network.forward(x, train),
            Self::DenseNet(network) => {
                Ok(network.forward(x, train)?.f_mean_dim([2_i64, 3].as_slice(), false, Kind::Float)?)
            }
        }
    }
}

/// Whether torchvision's tensor `name` belongs to the last layer of 1000 classes, which no network here has.
pub(crate) fn is_classifier(backbone: Backbone, name: &str) -> bool {
    let layer = match backbone {
        Backbone::Vgg19 => "classifier.6",
        Backbone::ResNet101 => "fc",
        Backbone::DenseNet121 => "classifier",
    };
    name.strip_prefix(layer).is_some_and(|rest| rest == ".weight" || rest == ".bias")
}

/// Beginnings of torchvision's names of the last block.
pub(crate) fn last_block(backbone: Backbone) -> &'static [&'static str] {
    match backbone {
        Backbone::Vgg19 => {
            &["features.28.", "features.30.", "features.32.", "features.34.", "classifier.0.", "classifier.3."]
        }
        Backbone::ResNet101 => &["layer4."],
        Backbone::DenseNet121 => &["features.denseblock4.", "features.norm5."],
    }
}
