"""What is fast but not the idea; each file says what it gains, and by which benchmark.

The plain counterparts: dense matrices, ``diffusion/process.py``, ``torch.tanh``, ``torch.nn.functional.dropout``, and
the square of the prediction's error.
"""
