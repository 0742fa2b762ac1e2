"""Files to named tensors: safetensors and GGUF, memory-mapped, checked before anything is believed."""
