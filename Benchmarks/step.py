#!/usr/bin/env python3
"""Memory and seconds of one call of a transformer, vdit beside diffusers, each in a process of its own.

    vdit bench checkpoint --config cogvideox-2b -o random
    /somewhere/venv/bin/python Benchmarks/step.py random --size 720x480 --num-frames 49 --run bf16 int8 bf16:as-stored

Most memory is the process's, from opening the file to the prediction; importing PyTorch is counted neither in diffusers'
memory nor in its seconds.
"""
import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

from compare import ROOT, measured

# Of each class of diffusers: frames and pixels to a latent, and tokens of text.
SHAPES = {
    "WanTransformer3DModel": (4, 8, 512),
    "CogVideoXTransformer3DModel": (4, 8, 226),
    "HunyuanVideoTransformer3DModel": (4, 8, 256),
    "MochiTransformer3DModel": (6, 8, 256),
}


def inputs(config, width, height, frames):
    """As `vdit predict` takes them."""
    import torch

    time_stride, space, text = SHAPES[config["_class_name"]]
    wide = config.get("text_embed_dim") or config.get("text_dim")
    latents = [1, config["in_channels"], (frames - 1) // time_stride + 1, height // space, width // space]
    tensors = {"latents": torch.randn(latents), "timestep": torch.tensor([500.0]),
               "prompt_embeds": torch.randn(1, text, wide)}
    if "pooled_projection_dim" in config and config["_class_name"].startswith("Hunyuan"):
        tensors["pooled_prompt_embeds"] = torch.randn(1, config["pooled_projection_dim"])
        tensors["guidance"] = torch.tensor([6000.0])
    if config["_class_name"].startswith(("Hunyuan", "Mochi")):
        tensors["prompt_attention_mask"] = torch.ones(1, text)
    return tensors


def predict(folder, path, threads):
    import diffusers
    import torch
    from safetensors.torch import load_file

    torch.set_num_threads(threads)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    with open(os.path.join(folder, "transformer", "config.json")) as file:
        name = json.load(file)["_class_name"]
    model = getattr(diffusers, name).from_pretrained(folder, subfolder="transformer", torch_dtype=torch.bfloat16).eval()
    x = {key: value.bfloat16() for key, value in load_file(path).items()}
    latents = x["latents"]
    arguments = {"timestep": x["timestep"].long(), "encoder_hidden_states": x["prompt_embeds"]}
    if name.startswith("CogVideoX"):
        latents = latents.transpose(1, 2)
        if model.config.use_rotary_positional_embeddings:
            from diffusers.models.embeddings import get_3d_rotary_pos_embed

            grid = (latents.shape[3] // 2, latents.shape[4] // 2)
            arguments["image_rotary_emb"] = get_3d_rotary_pos_embed(
                model.config.attention_head_dim, ((0, 0), grid), grid, latents.shape[1])
    if "prompt_attention_mask" in x:
        arguments["encoder_attention_mask"] = x["prompt_attention_mask"].bool()
    if "pooled_prompt_embeds" in x:
        arguments["pooled_projections"] = x["pooled_prompt_embeds"]
        arguments["guidance"] = x["guidance"]
    with torch.no_grad():
        model(latents, return_dict=False, **arguments)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": time.perf_counter() - started, "bytes": (most - before) * 1024}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a folder with a transformer")
    parser.add_argument("--size", required=True, metavar="WxH")
    parser.add_argument("--num-frames", type=int, required=True)
    parser.add_argument("--run", nargs="+", default=["bf16"], metavar="PRECISION[:WEIGHTS]",
                        help="vdit's --precision and --weights; diffusers runs in bf16")
    parser.add_argument("--vdit", default=os.path.join(ROOT, ".build", "release", "vdit"))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--inputs", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inputs:
        return predict(arguments.model, arguments.inputs, arguments.threads)
    from safetensors.torch import save_file

    width, height = map(int, arguments.size.split("x"))
    with open(os.path.join(arguments.model, "transformer", "config.json")) as file:
        config = json.load(file)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "inputs.safetensors")
        save_file(inputs(config, width, height, arguments.num_frames), path)
        results = {}
        for run in arguments.run:
            precision, _, weights = run.partition(":")
            _, seconds, memory = measured(
                [arguments.vdit, "predict", "--model", arguments.model, "--inputs", path, "--precision", precision,
                 "--weights", weights or "packed", "--threads", str(arguments.threads), "--quiet",
                 "-o", os.path.join(folder, f"{run}.safetensors")])
            results[f"vdit, {run}"] = {"seconds": seconds, "bytes": memory}
        output = subprocess.run(
            [sys.executable, os.path.abspath(__file__), arguments.model, "--size", arguments.size, "--num-frames",
             str(arguments.num_frames), "--threads", str(arguments.threads), "--inputs", path],
            check=True, stdout=subprocess.PIPE).stdout
    peer = json.loads(output.splitlines()[-1])
    print(f"{'diffusers, bf16':20} {peer['seconds']:9.1f} s {peer['bytes'] / 1e9:7.2f} GB")
    for name, result in results.items():
        print(f"{name:20} {result['seconds']:9.1f} s {result['bytes'] / 1e9:7.2f} GB, "
              f"{result['bytes'] / peer['bytes']:.2f} of it")


if __name__ == "__main__":
    main()
