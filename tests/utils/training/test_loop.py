"""What a run that learns nothing is told to try: gates that start at one, if they do not."""

import pytest

from utils.config.settings import TrainSettings
from utils.training.loop import _remedies_of_attention


@pytest.mark.once
@pytest.mark.parametrize(
    ("attention", "remedies"),
    [
        ("none", []),
        ("cbam_block(start='identity')", []),
        ("cbam_block(start='half')", []),
        ("cbam_block", ["--attention \"cbam_block(start='identity')\""]),
        ("se_block(ratio=4)", ["--attention \"se_block(ratio=4, start='identity')\""]),
        ("simam_block", []),  # it has no weights that could start anywhere
    ],
)
def test_remedies(attention, remedies):
    assert _remedies_of_attention(TrainSettings(attention=attention)) == remedies


@pytest.mark.once
def test_attention_in_a_model_of_keras_starts_at_one_already():
    settings = TrainSettings(attention="cbam_block", model="keras.applications/MobileNet")
    assert _remedies_of_attention(settings) == []
