"""What models there are and what each says of itself: their list, and the model card of one."""

from tfswa_unet.catalogue.card import exported_card, hub_card, model_card
from tfswa_unet.catalogue.listing import Listed, listed
from tfswa_unet.catalogue.origin import Evaluation, Origin

__all__ = ["Listed", "listed", "exported_card", "hub_card", "model_card", "Evaluation", "Origin"]
