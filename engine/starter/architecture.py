"""From MiniLM to BART: the encoder copied, the decoder started from the same layers, and copy heads fitted.

A sentence encoder has no decoder and has never written a word. Three things shorten the way:
- The encoder is MiniLM's own lower layers. Probed with a ridge regression, the token at a position can be read
  from layer 4 for 98% of the tokens and from layer 6 for 76%: the upper layers blur what copying needs.
- The decoder's self-attention and feed-forward blocks start from MiniLM's layers too.
- Cross-attention in the upper decoder layers starts as a copying head: the value and output maps carry the
  identity of the attended token into the space of the embeddings, and query and key look for the place in the
  source whose *previous* token is the one just written (an induction head; Olsson et al. 2022), all of it fitted
  in closed form on a few hundred texts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BartConfig, BartForConditionalGeneration, BertModel

ENCODER_LAYERS = 4
DECODER_FROM = (0, 2, 4)
COPY_LAYERS = (1, 2)
COPY_HEADS = 8
HEADS = 12
WIDTH = 384


def configuration(vocab_size: int) -> BartConfig:
    """BART at MiniLM's width; token ids as in `vocabulary`: [PAD] 0, [CLS] 2 begins, [SEP] 3 ends."""
    return BartConfig(
        vocab_size=vocab_size,
        d_model=WIDTH,
        encoder_layers=ENCODER_LAYERS,
        decoder_layers=len(DECODER_FROM),
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=4 * WIDTH,
        decoder_ffn_dim=4 * WIDTH,
        max_position_embeddings=512,
        activation_function="gelu",
        scale_embedding=False,
        dropout=0.1,
        attention_dropout=0.0,
        activation_dropout=0.0,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        decoder_start_token_id=3,
        forced_bos_token_id=2,
        forced_eos_token_id=None,
        tie_word_embeddings=True,
    )


def from_minilm(folder: Path, kept: list[str], pieces: dict[str, int]) -> BartForConditionalGeneration:
    """A BART whose encoder computes what MiniLM's lower layers compute, for the kept pieces."""
    bert = BertModel.from_pretrained(folder)
    model = BartForConditionalGeneration(configuration(len(kept) + 1))
    table = bert.embeddings
    words = table.word_embeddings.weight.data[[pieces[p] for p in kept]]
    line_break = table.word_embeddings.weight.data[pieces["[SEP]"]][None]
    positions = table.position_embeddings.weight.data + table.token_type_embeddings.weight.data[0]
    with torch.no_grad():
        model.model.shared.weight.copy_(torch.cat([words, line_break]))
        for side in (model.model.encoder, model.model.decoder):
            side.embed_positions.weight[2:].copy_(positions)  # BART's positions begin at 2
            side.embed_positions.weight[:2].zero_()
            side.layernorm_embedding.load_state_dict(table.LayerNorm.state_dict())
        for i, layer in enumerate(model.model.encoder.layers):
            _load_block(layer, bert.encoder.layer[i])
        for layer, i in zip(model.model.decoder.layers, DECODER_FROM, strict=True):
            _load_block(layer, bert.encoder.layer[i])
            _load_attention(layer.encoder_attn, bert.encoder.layer[i].attention)
            norm = bert.encoder.layer[i].attention.output.LayerNorm
            layer.encoder_attn_layer_norm.load_state_dict(norm.state_dict())
    model.tie_weights()
    return model


def _load_attention(target: Any, source: Any) -> None:
    for ours, theirs in (("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value")):
        getattr(target, ours).load_state_dict(getattr(source.self, theirs).state_dict())
    target.out_proj.load_state_dict(source.output.dense.state_dict())


def _load_block(target: Any, source: Any) -> None:
    _load_attention(target.self_attn, source.attention)
    target.self_attn_layer_norm.load_state_dict(source.attention.output.LayerNorm.state_dict())
    target.fc1.load_state_dict(source.intermediate.dense.state_dict())
    target.fc2.load_state_dict(source.output.dense.state_dict())
    target.final_layer_norm.load_state_dict(source.output.LayerNorm.state_dict())


def _ridge(x: Tensor, y: Tensor, penalty: float = 1.0) -> tuple[Tensor, Tensor]:
    """Weight (out, in) and bias (out) of the regularised least-squares map from x to y."""
    mean_x, mean_y = x.mean(0), y.mean(0)
    x, y = x - mean_x, y - mean_y
    weight = torch.linalg.solve(x.T @ x + penalty * torch.eye(x.shape[1]), x.T @ y).T
    return weight, mean_y - weight @ mean_x


@torch.no_grad()
def install_copy_heads(
    model: BartForConditionalGeneration, ids: Tensor, *, sharpness: float = 900.0, seed: int = 0
) -> None:
    """Fit the first `COPY_HEADS` cross-attention heads of `COPY_LAYERS` to be induction heads.

    ids: (texts, length) of full-length texts without padding; the texts are read by both sides.
    """
    model.eval()
    body = model.model
    embeddings = body.shared.weight
    identity = nn.functional.normalize(embeddings - embeddings.mean(0), dim=1)
    # A random rotation spreads each token's identity evenly over the heads' slices of 32 dimensions.
    rotation = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(seed)))[0]
    encoded = body.encoder(input_ids=ids).last_hidden_state
    here = encoded[:, 1:].reshape(-1, WIDTH)
    weight_k, bias_k = _ridge(here, identity[ids[:, :-1]].reshape(-1, WIDTH))
    weight_v, bias_v = _ridge(encoded.reshape(-1, WIDTH), identity[ids].reshape(-1, WIDTH))
    rows = COPY_HEADS * WIDTH // HEADS
    for index in COPY_LAYERS:
        layer = body.decoder.layers[index]
        seen: list[Tensor] = []
        handle = layer.encoder_attn.register_forward_pre_hook(
            lambda _m, args, kwargs, into=seen: into.append(args[0] if args else kwargs["hidden_states"]),
            with_kwargs=True,
        )
        body(input_ids=ids, decoder_input_ids=ids)
        handle.remove()
        asked = seen[0].reshape(-1, WIDTH)
        weight_q, bias_q = _ridge(asked, identity[ids].reshape(-1, WIDTH))
        gain = sharpness**0.5
        attention = layer.encoder_attn
        attention.q_proj.weight[:rows] = gain * (rotation @ weight_q)[:rows]
        attention.q_proj.bias[:rows] = gain * (rotation @ bias_q)[:rows]
        attention.k_proj.weight[:rows] = gain * (rotation @ weight_k)[:rows]
        attention.k_proj.bias[:rows] = gain * (rotation @ bias_k)[:rows]
        # The heads agree on where to look, so that together they may carry a projection of the identity.
        attention.v_proj.weight[:rows] = (rotation @ weight_v)[:rows]
        attention.v_proj.bias[:rows] = (rotation @ bias_v)[:rows]
        strength = 1.5 * asked.norm(dim=1).mean()
        attention.out_proj.weight[:, :rows] = strength * rotation.T[:, :rows]
    model.train()
