"""The names and shapes that formats are checked against are the model's own."""

import pytest
import torch

from wholegpt.errors import WholeGPTError
from wholegpt.model.convert import contents
from wholegpt.model.gpt import GPT, GPTConfig

CONFIG = GPTConfig(300, n_ctx=32, n_embd=24, n_layer=2, n_head=3)


def found():
    return dict(contents.shapes(CONFIG))


def test_shapes_are_those_of_the_model():
    with torch.device("meta"):
        model = GPT(CONFIG)
    assert found() == {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def test_a_lacking_tensor_and_a_wrong_shape(tmp_path):
    contents.check_shapes(tmp_path, CONFIG, found())
    lacking = found()
    del lacking["h.1.mlp.c_fc.bias"]
    with pytest.raises(WholeGPTError, match=r"lacks the tensor h\.1\.mlp\.c_fc\.bias"):
        contents.check_shapes(tmp_path, CONFIG, lacking)
    with pytest.raises(WholeGPTError, match=r"wpe\.weight has the shape \[32, 23\], expected \[32, 24\]"):
        contents.check_shapes(tmp_path, CONFIG, found() | {"wpe.weight": (32, 23)})


def test_a_lying_number_of_layers_ends_at_the_first_that_is_missing(tmp_path):
    lying = GPTConfig(300, n_ctx=32, n_embd=24, n_layer=2**60, n_head=3)
    with pytest.raises(WholeGPTError, match=r"lacks the tensor h\.2\.ln_1\.weight"):
        contents.check_shapes(tmp_path, lying, found())
