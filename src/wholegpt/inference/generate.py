"""`wholegpt generate`: samples on standard output, or as an artifact that the report reads."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from wholegpt.artifact import Artifact, write_json
from wholegpt.errors import UsageError
from wholegpt.inference.engine import generate as continuations
from wholegpt.model import checkpoint
from wholegpt.progress import say


@dataclass(frozen=True)
class GenerateOptions:
    """Continue prompts, or write from nothing (the paper's appendix: top-k 40, temperature 1)."""

    model: tyro.conf.Positional[Path]
    """A run, a checkpoint of any format, or released weights: gpt2, gpt2-medium, gpt2-large, gpt2-xl."""
    prompts: tyro.conf.Positional[tuple[str, ...]] = ("",)
    """Texts to continue; none: one unconditional sample."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Directory to write the samples to, instead of printing them."""
    max_new_tokens: int = 100
    """Length of each continuation [tokens]."""
    temperature: float = 1.0
    """0 is greedy."""
    top_k: int = 40
    """Choose among the k most likely tokens; 0: among all."""
    num_return_sequences: int = 1
    """Samples of each prompt."""
    seed: int = 0
    """Decides the samples."""
    tokenizer: str = ""
    """A directory with a tokenizer, where the checkpoint has none beside it."""
    device: str = "auto"
    """cpu, cuda, ..."""
    json: bool = False
    """Print one JSON object a line."""
    overwrite: bool = False
    """Replace samples made otherwise."""

    def __post_init__(self) -> None:
        if self.temperature < 0 or self.top_k < 0 or self.max_new_tokens < 0 or self.num_return_sequences < 1:
            raise UsageError(
                "--temperature, --top-k and --max-new-tokens must not be negative, --num-return-sequences at least 1"
            )


def generate(options: GenerateOptions) -> Artifact | None:
    """Print the samples, or write `samples.json`."""
    if options.output is None:
        samples = _samples(options)
        if options.json:
            print("\n".join(json.dumps(sample, ensure_ascii=False) for sample in samples))
        else:
            print("\n---\n".join(sample["prompt"] + sample["text"] for sample in samples))
        return None
    artifact = Artifact(options.output, "generate", options, [checkpoint.find(options.model)], options.overwrite)
    if artifact.exists():
        say(f"{options.output} is there already")
        return artifact
    with artifact.write() as folder:
        samples = _samples(options)
        write_json(folder / "samples.json", samples)
        artifact.counts = {"samples": len(samples)}
    return artifact


def _samples(options: GenerateOptions) -> list[dict[str, str]]:
    prompts = [prompt for prompt in options.prompts for _ in range(options.num_return_sequences)]
    model, tokenizer = checkpoint.load_with_tokenizer(options.model, options.device, tokenizer=options.tokenizer)
    texts = continuations(
        model, tokenizer, prompts, options.max_new_tokens, options.temperature, options.top_k, options.seed
    )
    return [{"prompt": prompt, "text": text} for prompt, text in zip(prompts, texts, strict=True)]
