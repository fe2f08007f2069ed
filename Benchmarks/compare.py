#!/usr/bin/env python3
"""Times vdit beside PyTorch, diffusers and OpenVINO on this machine and prints a table.

Every row alternates the two programs for several rounds in one run and gives the ratio of their medians: on a shared
machine only ratios from one run mean anything.

    python3 -m venv /somewhere/venv
    /somewhere/venv/bin/pip install torch diffusers transformers accelerate safetensors openvino
    /somewhere/venv/bin/python Benchmarks/compare.py --vdit .build/release/vdit            # all rows
    /somewhere/venv/bin/python Benchmarks/compare.py --vdit .build/release/vdit layer layer-openvino
"""
import argparse
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SAMPLE = os.path.join(ROOT, "samples", "wan-mini")
PROMPTS = os.path.join(ROOT, "samples", "prompts")


def timed(function, repeats, warm_up):
    """Seconds of each of `repeats` calls, after one that warms up if it is to."""
    import torch

    with torch.no_grad():
        if warm_up:
            function()
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            function()
            seconds.append(time.perf_counter() - start)
    return seconds


class Peer:
    """What vdit is compared with: made once, called in every round. `make` gives a module and its inputs."""

    def __init__(self, make):
        self.make, self.function = make, None

    def prepared(self):
        function, *inputs = self.make()
        return lambda: function(*inputs)

    def __call__(self, repeats, warm_up):
        if self.function is None:
            self.function = self.prepared()
        return timed(self.function, repeats, warm_up)


class OpenVINOPeer(Peer):
    """The same module converted by OpenVINO, in bf16 as it runs where the CPU has it.

    `traced` makes of an input a smaller one that leads the same way: converting calls the module once, in fp32.
    """

    def __init__(self, make, traced=lambda x: x):
        super().__init__(make)
        self.traced = traced

    def prepared(self):
        import openvino
        import torch

        module, *inputs = self.make()
        if isinstance(module, torch.nn.Module):
            module = module.float()
            for part in module.modules():
                # The same by whole factors, and the one that OpenVINO knows.
                if getattr(part, "mode", None) == "nearest-exact":
                    part.mode = "nearest"
        inputs = [x.float() for x in inputs]

        class Called(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = module

            def forward(self, *inputs):
                return self.inner(*inputs)

        with torch.no_grad():
            model = openvino.convert_model(Called().eval(), example_input=tuple(map(self.traced, inputs)))
        # Of known sizes it plans its memory, of which it takes a third then.
        model.reshape({index: list(x.shape) for index, x in enumerate(inputs)})
        compiled = openvino.Core().compile_model(model, "CPU", {
            "INFERENCE_PRECISION_HINT": "bf16", "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads()})
        request = compiled.create_infer_request()
        arrays = {index: x.numpy() for index, x in enumerate(inputs)}
        return lambda: request.infer(arrays, share_inputs=True, share_outputs=True)


def attention(heads, tokens, dtype="bfloat16"):
    def make():
        import torch

        q, k, v = (torch.randn(1, heads, tokens, 128, dtype=getattr(torch, dtype)) for _ in range(3))
        return torch.nn.functional.scaled_dot_product_attention, q, k, v

    return make


def flex_peer(heads, tokens, block, density):
    def make():
        import torch
        from torch.nn.attention.flex_attention import BlockMask, flex_attention

        q, k, v = (torch.randn(1, heads, tokens, 128, dtype=torch.bfloat16) for _ in range(3))
        blocks = (tokens + block - 1) // block
        kept = torch.rand(1, heads, blocks, blocks) < density
        kept |= torch.eye(blocks, dtype=torch.bool)
        # A stable sort puts the kept blocks of every row first, ascending.
        indices = torch.argsort((~kept).int(), dim=-1, stable=True).int()
        mask = BlockMask.from_kv_blocks(kept.sum(-1).int(), indices, BLOCK_SIZE=(block, block),
                                        seq_lengths=(tokens, tokens))
        compiled = torch.compile(flex_attention)
        return lambda: compiled(q, k, v, block_mask=mask),

    return Peer(make)


def linear(rows, inputs, outputs):
    def make():
        import torch

        layer = torch.nn.Linear(inputs, outputs, bias=False, dtype=torch.bfloat16)
        return layer, torch.randn(rows, inputs, dtype=torch.bfloat16)

    return make


def with_rotary(block, rotary, call):
    """A block whose table of positions is a constant."""
    import torch

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.block, (self.cos, self.sin) = block, rotary

        def forward(self, *inputs):
            return call(self.block, inputs, (self.cos, self.sin))

    return Block().eval()


def wan_layer():
    import torch
    from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed, WanTransformerBlock

    block = WanTransformerBlock(1536, 8960, 12, "rms_norm_across_heads", True, 1e-6).to(torch.bfloat16)
    rotary = WanRotaryPosEmbed(128, (1, 2, 2), 1024)(torch.zeros(1, 16, 9, 60, 104))
    return (with_rotary(block, rotary, lambda block, x, rotary: block(*x, rotary)),
            torch.randn(1, 14040, 1536, dtype=torch.bfloat16), torch.randn(1, 512, 1536, dtype=torch.bfloat16),
            torch.randn(1, 6, 1536))


def ltx_layer():
    """Of LTX-Video 2B at 161 × 512 × 704: 21 × 16 × 22 tokens."""
    import torch
    from diffusers.models.transformers.transformer_ltx import LTXVideoRotaryPosEmbed, LTXVideoTransformerBlock

    block = LTXVideoTransformerBlock(2048, 32, 64, 2048).to(torch.bfloat16)
    rotary = LTXVideoRotaryPosEmbed(2048)(torch.zeros(1, 7392, 2048), 21, 16, 22, (8 / 25, 32, 32))
    return (with_rotary(block, rotary, lambda block, x, rotary: block(*x, rotary)),
            torch.randn(1, 7392, 2048, dtype=torch.bfloat16), torch.randn(1, 128, 2048, dtype=torch.bfloat16),
            torch.randn(1, 1, 6 * 2048, dtype=torch.bfloat16))


def joint_layer(model, video, text):
    """Of a model with text inside self-attention, on this many tokens of each."""
    def make():
        import torch

        def rows(tokens, width):
            return torch.randn(1, tokens, width, dtype=torch.bfloat16)

        def turns(*shape):
            return torch.ones(*shape), torch.zeros(*shape)

        if model == "cogvideox":
            from diffusers.models.transformers.cogvideox_transformer_3d import CogVideoXBlock

            block = CogVideoXBlock(3072, 48, 64, 512, activation_fn="gelu-approximate", attention_bias=True)
            inputs = rows(video, 3072), rows(text, 3072), torch.randn(1, 512, dtype=torch.bfloat16), turns(video, 64)
        elif model == "hunyuan-video":
            from diffusers.models.transformers.transformer_hunyuan_video import HunyuanVideoTransformerBlock

            block = HunyuanVideoTransformerBlock(24, 128, 4.0)
            inputs = (rows(video, 3072), rows(text, 3072), torch.randn(1, 3072, dtype=torch.bfloat16), None,
                      turns(video, 128))
        else:
            from diffusers.models.transformers.transformer_mochi import MochiTransformerBlock

            block = MochiTransformerBlock(3072, 24, 128, 1536, activation_fn="swiglu")
            inputs = (rows(video, 3072), rows(text, 1536), torch.randn(1, 3072, dtype=torch.bfloat16),
                      torch.ones(1, text, dtype=torch.bool), turns(video, 24, 64))
        return block.to(torch.bfloat16).eval(), *inputs

    return make


# Of each configuration: diffusers' class, latent channels, frames and pixels to a latent, and whether the peer decodes in
# tiles, as 24 GiB would not hold it at once.
VAES = {
    "wan2.1-t2v-1.3b": ("AutoencoderKLWan", 16, 4, 8, False),
    "ltx-video-2b-0.9.0": ("AutoencoderKLLTXVideo", 128, 8, 32, False),
    "cogvideox-5b": ("AutoencoderKLCogVideoX", 16, 4, 8, False),
    "hunyuan-video": ("AutoencoderKLHunyuanVideo", 16, 4, 8, True),
    "mochi": ("AutoencoderKLMochi", 12, 6, 8, True),
}


def decoding(config, precision, width, height, frames):
    """As the pipelines of diffusers call it."""
    autoencoder, channels, time, space, tiled = VAES[config]
    dtype = {"fp32": "float32", "bf16": "bfloat16"}[precision]

    def make():
        import diffusers
        import torch

        vae = getattr(diffusers, autoencoder)().to(getattr(torch, dtype)).eval()
        if tiled:
            vae.enable_tiling()
        latents = torch.randn(1, channels, (frames - 1) // time + 1, height // space, width // space,
                              dtype=getattr(torch, dtype))

        class Decoder(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.vae = vae

            def forward(self, latents):
                return self.vae.decode(latents, return_dict=False)[0]

        return Decoder(), latents

    return make


def tiny_decoding(width, height, frames):
    """A tiny autoencoder's decoder (TAEHV, taew2_1), all frames together as its author's code has them by default."""
    def make():
        import torch
        from torch import nn
        from torch.nn.functional import pad

        def convolution(inputs, outputs, bias=True):
            return nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias)

        class MemoryBlock(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.layers = nn.Sequential(
                    convolution(2 * width, width), nn.ReLU(), convolution(width, width), nn.ReLU(),
                    convolution(width, width))

            def forward(self, x):
                past = pad(x, (0, 0, 0, 0, 0, 0, 1, 0))[:-1]
                return torch.relu(self.layers(torch.cat([x, past], 1)) + x)

        class Split(nn.Module):
            def __init__(self, width, times):
                super().__init__()
                self.pointwise = nn.Conv2d(width, width * times, 1, bias=False)

            def forward(self, x):
                return self.pointwise(x).reshape(-1, *x.shape[1:])

        class Limit(nn.Module):
            def forward(self, x):
                return torch.tanh(x / 3) * 3

        widths, layers = [256, 128, 64, 64], [Limit(), convolution(16, 256), nn.ReLU()]
        for level, times in enumerate([1, 2, 2]):
            layers += [MemoryBlock(widths[level]) for _ in range(3)] + [
                nn.Upsample(scale_factor=2), Split(widths[level], times),
                convolution(widths[level], widths[level + 1], bias=False)]
        decoder = nn.Sequential(*layers, nn.ReLU(), convolution(64, 3)).to(torch.bfloat16).eval()
        return decoder, torch.randn((frames - 1) // 4 + 1, 16, height // 8, width // 8, dtype=torch.bfloat16)

    return make


ATTENTION = ["bench", "attention", "--head-dim", "128"]
LINEAR = ["bench", "linear", "--rows", "14040"]
LAYER = ["bench", "layer", "--config", "wan2.1-t2v-1.3b", "--size", "832x480", "--num-frames", "33"]
LTX_LAYER = ["bench", "layer", "--config", "ltx-video-2b-0.9.8", "--size", "704x512", "--num-frames", "161"]
COGVIDEOX_LAYER = ["bench", "layer", "--config", "cogvideox-5b", "--size", "720x480", "--num-frames", "49"]
HUNYUAN_LAYER = ["bench", "layer", "--config", "hunyuan-video", "--size", "960x544", "--num-frames", "33"]
MOCHI_LAYER = ["bench", "layer", "--config", "mochi", "--size", "848x480", "--num-frames", "61"]


def decode(config, width, height, frames, precision="bf16", peer=Peer):
    """A row: vdit's arguments, and the peer."""
    return (["bench", "decode", "--config", config, "--precision", precision, "--size", f"{width}x{height}",
             "--num-frames", str(frames)],
            peer(decoding(config, precision, width, height, frames)))


def decode_openvino(config, width, height, frames):
    """The same. Frames follow each other in Python, so what is converted is a decode of just so many, of any size."""
    return decode(config, width, height, frames,
                  peer=lambda make: OpenVINOPeer(make, traced=lambda latents: latents[..., :8, :8]))


ATTENTION_SMALL = ATTENTION + ["--heads", "4", "--tokens", "5040"]
ATTENTION_480P = ATTENTION + ["--heads", "12", "--tokens", "14040"]

TINY = decode("wan2.1-t2v-1.3b", 832, 480, 17)[0] + ["--tiny"]

# Row: vdit's arguments, and the peer.
ROWS = {
    "attention-bf16": (ATTENTION_SMALL, Peer(attention(4, 5040))),
    "attention-bf16-openvino": (ATTENTION_SMALL, OpenVINOPeer(attention(4, 5040))),
    "attention-bf16-480p": (ATTENTION_480P, Peer(attention(12, 14040))),
    "attention-bf16-480p-openvino": (ATTENTION_480P, OpenVINOPeer(attention(12, 14040))),
    "attention-fp32": (ATTENTION_SMALL + ["--precision", "fp32"], Peer(attention(4, 5040, "float32"))),
    "attention-sparse": (ATTENTION_SMALL + ["--block", "128", "--block-density", "0.27"],
                         flex_peer(4, 5040, 128, 0.27)),
    "linear-qkv": (LINEAR + ["--inputs", "1536", "--outputs", "4608"], Peer(linear(14040, 1536, 4608))),
    "linear-ffn-in": (LINEAR + ["--inputs", "1536", "--outputs", "8960"], Peer(linear(14040, 1536, 8960))),
    "linear-ffn-out": (LINEAR + ["--inputs", "8960", "--outputs", "1536"], Peer(linear(14040, 8960, 1536))),
    "layer": (LAYER, Peer(wan_layer)),
    "layer-openvino": (LAYER, OpenVINOPeer(wan_layer)),
    "layer-radial": (LAYER + ["--sparse", "radial"], Peer(wan_layer)),
    "layer-ltx": (LTX_LAYER, Peer(ltx_layer)),
    "layer-ltx-openvino": (LTX_LAYER, OpenVINOPeer(ltx_layer)),
    "decode-fp32": decode("wan2.1-t2v-1.3b", 832, 480, 17, "fp32"),
    "decode-bf16": decode("wan2.1-t2v-1.3b", 832, 480, 17),
    "decode-bf16-small": decode("wan2.1-t2v-1.3b", 416, 240, 5),
    "decode-openvino": decode_openvino("wan2.1-t2v-1.3b", 832, 480, 17),
    "decode-openvino-small": decode_openvino("wan2.1-t2v-1.3b", 416, 240, 5),
    "decode-tiny": (TINY, Peer(tiny_decoding(832, 480, 17))),
    "decode-tiny-openvino": (TINY, OpenVINOPeer(tiny_decoding(832, 480, 17))),
    "layer-cogvideox": (COGVIDEOX_LAYER, Peer(joint_layer("cogvideox", 17550, 226))),
    "layer-hunyuan": (HUNYUAN_LAYER, Peer(joint_layer("hunyuan-video", 18360, 256))),
    "layer-hunyuan-radial": (HUNYUAN_LAYER + ["--sparse", "radial"], Peer(joint_layer("hunyuan-video", 18360, 256))),
    "layer-hunyuan-svg2": (HUNYUAN_LAYER + ["--sparse", "svg2"], Peer(joint_layer("hunyuan-video", 18360, 256))),
    "layer-mochi": (MOCHI_LAYER, Peer(joint_layer("mochi", 17490, 256))),
    "decode-ltx": decode("ltx-video-2b-0.9.0", 768, 512, 121),
    "decode-cogvideox": decode("cogvideox-5b", 720, 480, 49),
    "decode-hunyuan": decode("hunyuan-video", 832, 480, 49),
    "decode-hunyuan-small": decode("hunyuan-video", 832, 480, 5),
    "decode-mochi": decode("mochi", 848, 480, 49),
    "decode-mochi-small": decode("mochi", 848, 480, 7),
}


def measured(command):
    """What a process printed, its seconds, and the most memory it held."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command[:3])} failed")
    return output, time.perf_counter() - start, usage.ru_maxrss * 1024


def run_vdit(vdit, arguments, threads, repeats):
    command = [vdit] + arguments + ["--threads", str(threads), "--repeats", str(repeats), "--json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def compare(name, vdit, threads, rounds, repeats, warm_up):
    arguments, peer = ROWS[name]
    ours, theirs, last = [], [], {}
    for _ in range(rounds):
        last = run_vdit(vdit, arguments, threads, repeats)
        ours += last["seconds"]
        theirs += peer(repeats, warm_up)
    peer.function = None
    gc.collect()
    a, b = statistics.median(ours), statistics.median(theirs)
    fraction, error = last.get("fraction_of_peak"), last.get("relative_error")
    print(f"{name:30} vdit {a:9.4f} s  peer {b:9.4f} s  ratio {b / a:5.2f}"
          + (f"  {last['teraflops_per_second']:.3f} TFLOP/s" if "teraflops_per_second" in last else "")
          + (f", {100 * fraction:.0f} % of peak" if fraction else "") + (f", error {error:.1e}" if error else ""), flush=True)
    return {"row": name, "vdit_seconds": ours, "peer_seconds": theirs, "ratio": b / a, "vdit": last}


class SampleRender:
    """The sample's clip, written as a video by both."""

    def __init__(self, arguments, folder):
        self.steps, self.frames = arguments.steps, arguments.num_frames

    def vdit(self):
        return ["--model", SAMPLE, "--prompt-embedding", os.path.join(PROMPTS, "01-red-ball-right.safetensors"),
                "--negative-prompt-embedding", os.path.join(PROMPTS, "empty.safetensors"), "--seed", "7",
                "--steps", str(self.steps), "--num-frames", str(self.frames), "--guidance-scale", "4"]

    def load(self):
        """diffusers' pipeline, and what calls it and writes the video."""
        import numpy
        import torch
        from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
        from safetensors.torch import load_file

        transformer = WanTransformer3DModel.from_pretrained(SAMPLE, subfolder="transformer", torch_dtype=torch.bfloat16)
        vae = AutoencoderKLWan.from_pretrained(SAMPLE, subfolder="vae", torch_dtype=torch.float32)
        scheduler = UniPCMultistepScheduler.from_pretrained(SAMPLE, subfolder="scheduler")
        pipe = WanPipeline(tokenizer=None, text_encoder=None, vae=vae, scheduler=scheduler, transformer=transformer)
        pipe.set_progress_bar_config(disable=True)
        prompt = load_file(os.path.join(PROMPTS, "01-red-ball-right.safetensors"))["prompt_embeds"]
        negative = load_file(os.path.join(PROMPTS, "empty.safetensors"))["prompt_embeds"]

        def render(output):
            frames = pipe(prompt_embeds=prompt, negative_prompt_embeds=negative, height=192, width=320,
                          num_frames=self.frames, num_inference_steps=self.steps, guidance_scale=4.0,
                          generator=torch.Generator().manual_seed(7), output_type="np").frames[0]
            raw = (frames * 255).round().astype(numpy.uint8).tobytes()
            subprocess.run(["ffmpeg", "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s",
                            "320x192", "-r", "16", "-i", "-", "-c:v", "libx264", "-crf", "18", "-preset", "medium",
                            "-pix_fmt", "yuv420p", output], input=raw, check=True)

        return render


class LTXRender:
    """LTX-Video 2B distilled, seven calls and the decode of 121×512×768, from zeros for weights and a random prompt.

    The peer writes no video."""

    steps, frames = 7, 121

    def __init__(self, arguments, folder):
        self.model = os.path.join(folder, "ltx")
        self.prompt = os.path.join(folder, "prompt.safetensors")
        if not os.path.exists(self.model):
            import torch
            from safetensors.torch import save_file

            subprocess.run([arguments.vdit, "bench", "checkpoint", "--config", "ltx-video-2b-0.9.8", "--hollow",
                            "-o", self.model], check=True)
            save_file({"prompt_embeds": torch.randn(1, 128, 4096), "prompt_attention_mask": torch.ones(1, 128)}, self.prompt)

    def vdit(self):
        return ["--model", self.model, "--prompt-embedding", self.prompt, "--few-step", "ltx-0.9.8", "--seed", "7",
                "--size", "768x512", "--num-frames", str(self.frames)]

    def load(self):
        import torch
        from diffusers import AutoencoderKLLTXVideo, FlowMatchEulerDiscreteScheduler, LTXPipeline
        from diffusers import LTXVideoTransformer3DModel
        from safetensors.torch import load_file

        options = {"torch_dtype": torch.bfloat16}
        transformer = LTXVideoTransformer3DModel.from_pretrained(self.model, subfolder="transformer", **options)
        vae = AutoencoderKLLTXVideo.from_pretrained(self.model, subfolder="vae", **options)
        scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(self.model, subfolder="scheduler")
        pipe = LTXPipeline(scheduler=scheduler, vae=vae, transformer=transformer, tokenizer=None, text_encoder=None)
        pipe.set_progress_bar_config(disable=True)
        prompt = load_file(self.prompt)["prompt_embeds"].bfloat16()
        mask = torch.ones(1, prompt.shape[1], dtype=torch.bool)

        def render(output):
            pipe(prompt_embeds=prompt, prompt_attention_mask=mask, height=512, width=768, num_frames=self.frames,
                 num_inference_steps=self.steps, guidance_scale=1.0, decode_timestep=0.05, decode_noise_scale=0.025,
                 generator=torch.Generator().manual_seed(7), output_type="np")

        return render


RENDERS = {"render": SampleRender, "render-ltx": LTXRender}


def diffusers_render(name, folder, arguments):
    """A render by diffusers, in a process of its own so that its memory can be told."""
    import diffusers  # noqa: F401
    import torch

    torch.set_num_threads(arguments.threads)
    imported = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    started = time.perf_counter()
    render = RENDERS[name](arguments, folder).load()
    loaded = time.perf_counter()
    render(os.path.join(folder, "peer.mp4"))
    # Importing PyTorch is not the render's fault: neither its seconds nor those of loading count; vdit's own start does.
    print(json.dumps({"seconds": time.perf_counter() - loaded, "start_seconds": loaded - started,
                      "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                      "imported_bytes": imported}))


def compare_render(name, arguments):
    ours, theirs, memory, imported = [], [], ([], []), 0
    with tempfile.TemporaryDirectory() as folder:
        render = RENDERS[name](arguments, folder)
        for number in range(arguments.rounds):
            _, seconds, peak = measured(
                [arguments.vdit, "render"] + render.vdit()
                + ["--threads", str(arguments.threads), "--quiet", "-o", os.path.join(folder, f"{number}.mp4")])
            ours.append(seconds)
            memory[0].append(peak)
            output = subprocess.run(
                [sys.executable, os.path.abspath(__file__), name, "--diffusers-render", folder, "--steps",
                 str(arguments.steps), "--num-frames", str(arguments.num_frames), "--threads", str(arguments.threads)],
                check=True, stdout=subprocess.PIPE).stdout
            peer = json.loads(output.splitlines()[-1])
            theirs.append(peer["seconds"])
            memory[1].append(peer["peak_bytes"])
            imported = peer["imported_bytes"]
    a, b = statistics.median(ours), statistics.median(theirs)
    x, y = statistics.median(memory[0]), statistics.median(memory[1])
    print(f"{name:30} vdit {a:9.2f} s  peer {b:9.2f} s  ratio {b / a:5.2f}  "
          f"({render.steps} steps, {render.frames} frames)")
    print(f"{name + ', memory':30} vdit {x / 1e6:8.0f} MB peer {y / 1e6:8.0f} MB vdit takes {x / y:.2f} of it "
          f"({imported / 1e6:.0f} MB of the peer's are PyTorch's and diffusers' own)", flush=True)
    return {"row": name, "vdit_seconds": ours, "peer_seconds": theirs, "ratio": b / a,
            "vdit_peak_bytes": memory[0], "peer_peak_bytes": memory[1], "peer_imported_bytes": imported}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", help=f"of: {', '.join([*ROWS, *RENDERS])}; all if none is named")
    parser.add_argument("--vdit", default=os.path.join(ROOT, ".build", "release", "vdit"))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=2, help="timed calls of each program in a round")
    parser.add_argument("--cold-peer", action="store_true", help="time the peer's first call, in rows of minutes")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--num-frames", type=int, default=81)
    parser.add_argument("--results", metavar="FILE", help="write every measured second as JSON")
    parser.add_argument("--diffusers-render", metavar="FOLDER", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.diffusers_render:
        return diffusers_render(arguments.rows[0], arguments.diffusers_render, arguments)
    import torch

    torch.set_num_threads(arguments.threads)
    unknown = set(arguments.rows) - set(ROWS) - set(RENDERS)
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    results = []
    for name in arguments.rows or list(ROWS) + list(RENDERS):
        if name in RENDERS:
            results.append(compare_render(name, arguments))
        else:
            results.append(compare(
                name, arguments.vdit, arguments.threads, arguments.rounds, arguments.repeats, not arguments.cold_peer))
    if arguments.results:
        with open(arguments.results, "w") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
