//! The two backbones of the image network behind one interface.

use tch::{Device, Kind, Tensor};

use super::densenet::{DenseNet, DenseNetConfig};
use super::efficientnet_lite::EfficientNetLite0;
use crate::checkpoint::weights::StoredWeights;
use crate::error::ModelError;
use crate::manifest::ImageBackbone;
use crate::parameters::{Builder, Scope};

/// Normalised pixels to a feature map of [`ImageBackbone::channels`] channels.
pub enum Backbone {
    DenseNet(DenseNet),
    Lite(EfficientNetLite0),
}

impl Backbone {
    /// Names start at `features` under `scope`.
    pub fn new(scope: &Scope, backbone: ImageBackbone) -> Result<Self, ModelError> {
        Ok(match backbone {
            ImageBackbone::DenseNet121 => Self::DenseNet(DenseNet::new(scope, DenseNetConfig::DENSENET_121)?),
            ImageBackbone::EfficientNetLite0 => Self::Lite(EfficientNetLite0::new(&scope.sub("features"))?),
        })
    }

    /// EfficientNet-Lite0 out of its base weights ([`Base::efficientnet_lite0`](crate::Base::efficientnet_lite0)).
    ///
    /// # Errors
    /// One that names a tensor which is missing, misshaped, not finite, or of another network.
    pub fn of_base(base: &StoredWeights, device: Device) -> Result<Self, ModelError> {
        let builder = Builder::stored(base, device);
        let network = EfficientNetLite0::new(&builder.scope(""))?;
        base.check_all_read(&builder.finish())?;
        Ok(Self::Lite(network))
    }

    /// Which of the two it is.
    pub fn kind(&self) -> ImageBackbone {
        match self {
            Self::DenseNet(_) => ImageBackbone::DenseNet121,
            Self::Lite(_) => ImageBackbone::EfficientNetLite0,
        }
    }

    /// `[batch, 3, side, side]`, normalised, f32, to `[batch, channels, side / 32, side / 32]` in f32; convolutions run in
    /// `kind`, or in that of the weights.
    pub fn forward(&self, x: &Tensor, train: bool, kind: Option<Kind>) -> Result<Tensor, ModelError> {
        match (self, kind) {
            (Self::DenseNet(network), None) => network.forward(x, train),
            (Self::DenseNet(network), Some(kind)) => network.forward_in(x, train, kind),
            // Frozen: it has no normalisation left whose statistics could move.
            (Self::Lite(network), None) => network.forward(x),
            (Self::Lite(network), Some(kind)) => network.forward_in(x, kind),
        }
    }

    /// The same backbone, faster; evaluation mode only. See [`DenseNet::for_serving`] and
    /// [`EfficientNetLite0::for_serving`].
    pub fn for_serving(&self, kind: Kind) -> Result<Self, ModelError> {
        Ok(match self {
            Self::DenseNet(network) => Self::DenseNet(network.for_serving(kind)?),
            Self::Lite(network) => Self::Lite(network.for_serving(kind)?),
        })
    }
}
