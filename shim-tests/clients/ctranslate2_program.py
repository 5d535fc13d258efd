"""CTranslate2, which opens libcublas and carries a CUDA runtime of its own."""

import ctranslate2
from cases import case

case("start", lambda: len(ctranslate2.get_supported_compute_types("cuda")) > 0, True, 0)
