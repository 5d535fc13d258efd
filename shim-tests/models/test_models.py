"""Real models with random weights: forward and a training step on the device, against the CPU run."""

import pathlib

import pytest

COMPARE = """
import copy
import torch

torch.manual_seed(int.from_bytes(__import__("os").urandom(4), "little"))

def flat(value):
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        return [t for item in value.values() for t in flat(item)]
    if isinstance(value, (list, tuple)):
        return [t for item in value for t in flat(item)]
    return []

def on(value, device):
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: on(item, device) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(on(item, device) for item in value)
    return value

def compare(model, loss, inputs, tolerance=2e-3):
    results = []
    for device in ("cpu", "cuda"):
        copied = copy.deepcopy(model).to(device)
        value = loss(copied, on(inputs, device))
        value.backward()
        gradients = [p.grad.detach().cpu() for p in copied.parameters() if p.grad is not None]
        optimizer = torch.optim.AdamW(copied.parameters(), lr=1e-4)
        optimizer.step()
        assert all(p.device.type == device for p in copied.parameters())
        results.append((value.detach().cpu(), gradients))
    (want, want_grads), (got, got_grads) = results
    assert torch.allclose(got.float(), want.float(), rtol=tolerance, atol=tolerance), (got, want)
    assert len(got_grads) == len(want_grads) > 0
    # A number that is rounded to the other side of zero turns a ReLU: single elements of a small network's gradients then
    # differ by a fifth, those of PyTorch's own float32 from its float64 too; a whole gradient differs by a few hundredths.
    for position, (a, b) in enumerate(zip(got_grads, want_grads)):
        error, b = a.double() - b.double(), b.double()
        assert error.norm() <= 20 * tolerance * b.norm() + 1e-5 * b.numel() ** 0.5, (position, error.norm(), b.norm())
        assert error.abs().max() <= 0.5 * b.abs().max() + 1e-5, (position, error.abs().max(), b.abs().max())
"""


def passes(on_simgpu, script, **environment):
    result = on_simgpu(COMPARE + script + '\nprint("ok")\n', HF_HUB_OFFLINE="1", **environment)
    assert result.status == 0 and result.out.splitlines()[-1] == "ok", result
    return result


@pytest.mark.parametrize("name, size", [("resnet18", 64), ("mobilenet_v3_small", 64), ("vit_b_16", 224)])
def test_torchvision_classifiers(on_simgpu, name, size):
    passes(
        on_simgpu,
        f"""
import torchvision
model = torchvision.models.{name}(weights=None)
model.eval()  # dropout draws other numbers on the device
compare(model, lambda m, x: m(x).pow(2).mean(), torch.randn(2, 3, {size}, {size}))
""",
    )


def test_a_detection_model_with_nms_and_roi_align(on_simgpu):
    passes(
        on_simgpu,
        """
import torchvision
from torchvision.ops import nms, roi_align
boxes = torch.rand(30, 4) * 50
boxes[:, 2:] += boxes[:, :2]
scores = torch.rand(30)
assert nms(boxes.cuda(), scores.cuda(), 0.3).cpu().equal(nms(boxes, scores, 0.3))
features = torch.randn(1, 4, 16, 16)
rois = torch.cat([torch.zeros(30, 1), boxes / 4], 1)
got, want = roi_align(features.cuda(), rois.cuda(), 3), roi_align(features, rois, 3)
assert torch.allclose(got.cpu(), want, atol=1e-5)
model = torchvision.models.detection.fasterrcnn_mobilenet_v3_large_320_fpn(
    weights=None, weights_backbone=None, num_classes=5, min_size=96, max_size=96).eval()
image = torch.rand(3, 96, 96)
with torch.inference_mode():
    want = model([image])[0]
    got = copy.deepcopy(model).cuda()([image.cuda()])[0]
assert len(want["boxes"]) == len(got["boxes"]) and torch.allclose(got["boxes"].cpu(), want["boxes"], atol=1e-2)
""",
    )


CONFIGS = {
    "gpt2": """
from transformers import GPT2Config, GPT2LMHeadModel
model = GPT2LMHeadModel(GPT2Config(n_layer=2, n_head=4, n_embd=64, vocab_size=200, n_positions=64, resid_pdrop=0.0,
                                   embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=199))
inputs = torch.randint(0, 200, (2, 12))
compare(model, lambda m, x: m(x, labels=x).loss, inputs)
model.eval()
want = model.generate(inputs[:1], max_new_tokens=8, do_sample=False, pad_token_id=0)
got = copy.deepcopy(model).cuda().generate(inputs[:1].cuda(), max_new_tokens=8, do_sample=False, pad_token_id=0)
assert got.cpu().equal(want), (got, want)
""",
    "bert": """
from transformers import BertConfig, BertForSequenceClassification
model = BertForSequenceClassification(BertConfig(hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
    intermediate_size=128, vocab_size=200, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))
inputs = (torch.randint(0, 200, (2, 12)), torch.tensor([[1] * 12, [1] * 7 + [0] * 5]), torch.tensor([0, 1]))
compare(model, lambda m, x: m(input_ids=x[0], attention_mask=x[1], labels=x[2]).loss, inputs)
""",
    "whisper": """
from transformers import WhisperConfig, WhisperForConditionalGeneration
model = WhisperForConditionalGeneration(WhisperConfig(d_model=64, encoder_layers=2, decoder_layers=2,
    encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=128, decoder_ffn_dim=128, vocab_size=200,
    max_source_positions=50, max_target_positions=32, dropout=0.0, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    decoder_start_token_id=1, suppress_tokens=None, begin_suppress_tokens=None))
inputs = (torch.randn(2, 80, 100), torch.randint(3, 200, (2, 6)))
compare(model, lambda m, x: m(input_features=x[0], labels=x[1]).loss, inputs)
""",
    "t5": """
from transformers import T5Config, T5ForConditionalGeneration
model = T5ForConditionalGeneration(T5Config(d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4, vocab_size=200,
    dropout_rate=0.0, decoder_start_token_id=0))
inputs = (torch.randint(0, 200, (2, 9)), torch.randint(0, 200, (2, 5)))
compare(model, lambda m, x: m(input_ids=x[0], labels=x[1]).loss, inputs)
""",
    "llama": """
from transformers import LlamaConfig, LlamaForCausalLM
model = LlamaForCausalLM(LlamaConfig(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, vocab_size=200, max_position_embeddings=64))
inputs = torch.randint(0, 200, (2, 12))
compare(model, lambda m, x: m(x, labels=x).loss, inputs)
for dtype, tolerance in ((torch.float16, 2e-2), (torch.bfloat16, 6e-2)):
    half = copy.deepcopy(model).to(dtype).eval()
    with torch.inference_mode():
        want = half(inputs).logits.float()
        got = copy.deepcopy(half).cuda()(inputs.cuda()).logits.float().cpu()
    assert torch.allclose(got, want, atol=tolerance, rtol=tolerance), (dtype, (got - want).abs().max())
    on_device = copy.deepcopy(half).cuda()
    tokens = on_device.generate(inputs[:1].cuda(), max_new_tokens=4, do_sample=True, pad_token_id=0)
    assert tokens.shape == (1, 16) and tokens.is_cuda
""",
}


@pytest.mark.parametrize("name", CONFIGS)
def test_transformers(on_simgpu, name):
    passes(on_simgpu, CONFIGS[name])


def test_recurrent_networks_and_a_transformer(on_simgpu):
    passes(
        on_simgpu,
        """
import torch.nn as nn

class Last(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net, self.head = net, nn.Linear(24, 5)
    def forward(self, x):
        return self.head(self.net(x)[0][:, -1])

for kind in (nn.LSTM, nn.GRU, nn.RNN):
    compare(Last(kind(10, 24, 2, batch_first=True)), lambda m, x: m(x).pow(2).mean(), torch.randn(3, 7, 10))
model = nn.Transformer(32, 4, 2, 2, 64, dropout=0.0, batch_first=True)
inputs = (torch.randn(2, 6, 32), torch.randn(2, 5, 32))
compare(model, lambda m, x: m(*x).pow(2).mean(), inputs)
""",
    )


def test_a_diffusion_model_and_its_scheduler(on_simgpu):
    passes(
        on_simgpu,
        """
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DConditionModel

model = UNet2DConditionModel(sample_size=16, in_channels=3, out_channels=3, layers_per_block=1,
    block_out_channels=(16, 32), down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=16, attention_head_dim=4, norm_num_groups=8)
inputs = (torch.randn(2, 3, 16, 16), torch.tensor([10, 500]), torch.randn(2, 4, 16))
compare(model, lambda m, x: m(x[0], x[1], x[2]).sample.pow(2).mean(), inputs)
images = []
for device in ("cpu", "cuda"):
    net = copy.deepcopy(model).to(device).eval()
    scheduler = DDIMScheduler(num_train_timesteps=50)
    scheduler.set_timesteps(4, device=device)
    image, text = on(inputs[0], device), on(inputs[2], device)
    with torch.inference_mode():
        for step in scheduler.timesteps:
            image = scheduler.step(net(image, step, text).sample, step, image).prev_sample
    images.append(image.cpu())
assert torch.allclose(*images, atol=2e-3, rtol=2e-3), (images[0] - images[1]).abs().max()
noise = torch.randn(2, 3, 16, 16)
add = lambda device: DDPMScheduler().add_noise(*on((inputs[0], noise, inputs[1]), device)).cpu()
assert torch.allclose(add("cuda"), add("cpu"), atol=1e-5)
""",
    )


def test_a_vocoder_of_transposed_and_dilated_convolutions(on_simgpu):
    passes(
        on_simgpu,
        """
import torch.nn as nn

class Stack(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv1d(channels, channels, 3, dilation=d, padding=d) for d in (1, 3, 5))
    def forward(self, x):
        for layer in self.layers:
            x = x + layer(nn.functional.leaky_relu(x, 0.1))
        return x

model = nn.Sequential(
    nn.utils.parametrizations.weight_norm(nn.Conv1d(20, 32, 7, padding=3)), nn.ConvTranspose1d(32, 16, 16, 8, 4), Stack(16),
    nn.ConvTranspose1d(16, 8, 8, 4, 2), Stack(8), nn.Conv1d(8, 1, 7, padding=3), nn.Tanh())
compare(model, lambda m, x: m(x).pow(2).mean(), torch.randn(2, 20, 30))
import torchaudio
wave = torch.randn(1, 4000)
mel = torchaudio.transforms.MelSpectrogram(n_fft=256, n_mels=20)
want, got = mel(wave), copy.deepcopy(mel).cuda()(wave.cuda()).cpu()
assert torch.allclose(got, want, rtol=1e-3, atol=1e-3)
""",
    )


def test_networks_through_cudnns_entry_points(on_simgpu):
    result = passes(
        on_simgpu,
        """
import torchvision
from diffusers import UNet2DModel
model = torchvision.models.resnet18(weights=None)
compare(model, lambda m, x: m(x).pow(2).mean(), torch.randn(4, 3, 64, 64), tolerance=5e-3)
compare(model.eval(), lambda m, x: m(x).pow(2).mean(), torch.randn(2, 3, 64, 64))
unet = UNet2DModel(sample_size=16, in_channels=3, out_channels=3, layers_per_block=1, block_out_channels=(16, 32),
                   norm_num_groups=8, down_block_types=("DownBlock2D", "AttnDownBlock2D"),
                   up_block_types=("AttnUpBlock2D", "UpBlock2D"), attention_head_dim=8)
inputs = (torch.randn(2, 3, 16, 16), torch.tensor([3, 77]))
compare(unet, lambda m, x: m(x[0], x[1]).sample.pow(2).mean(), inputs)
""",
        GPU_COMPAT_CUDNN="library",
        GPU_COMPAT_DEBUG="1",
    )
    for served in ("ops=conv_forward", "ops=conv_backward_data", "ops=conv_backward_filter",
                   "fn=cudnnBatchNormalizationForwardTrainingEx", "fn=cudnnBatchNormalizationBackwardEx"):
        assert served in result.err, served
    assert "operator=aten::convolution treatment=equivalent" not in result.err


def test_a_vocoder_through_cudnns_entry_points(on_simgpu):
    script = str(pathlib.Path(__file__).parents[2] / "scripts/bench-vocoder.py")
    result = on_simgpu(script, "--channels", "64", "--seconds", "1", GPU_COMPAT_CUDNN="library", GPU_COMPAT_DEBUG="1")
    assert result.status == 0 and "ratio" in result.out, result
    assert "ops=conv_backward_data" in result.err and "ops=conv_forward" in result.err, result


def test_a_detector_with_default_boxes(on_simgpu):
    passes(
        on_simgpu,
        """
import torchvision
model = torchvision.models.detection.ssdlite320_mobilenet_v3_large(
    weights=None, weights_backbone=None, num_classes=4).eval()
image = torch.rand(3, 120, 120)
with torch.inference_mode():
    want = model([image])[0]
    got = copy.deepcopy(model).cuda()([image.cuda()])[0]
assert len(want["boxes"]) == len(got["boxes"]) and torch.allclose(got["boxes"].cpu(), want["boxes"], atol=1e-2)
from torchvision.ops import deform_conv2d
x, offset, weight = torch.randn(1, 4, 8, 8), torch.randn(1, 18, 6, 6), torch.randn(5, 4, 3, 3)
assert torch.allclose(deform_conv2d(x.cuda(), offset.cuda(), weight.cuda()).cpu(), deform_conv2d(x, offset, weight), atol=1e-4)
""",
    )
