"""Sound to text: one transcript type, the engines that make it, the formats that write it.

transcript    Word, Segment, Transcript
audio         any recording -> 16 kHz mono samples, bounded
hardware      device and compute type, chosen from what is there and stated
nvidia_wheels cuBLAS out of the wheels that bring it
options       what a caller may ask of a transcription
features      samples -> log-Mel spectrogram, in bounded memory
whisper       a verified model + samples -> Transcript
whisper_files what such a model must bring
speakers      who speaks: back ends, and turns onto words
scheduler     fair turns between callers, step by step
formats       Transcript -> text, srt, vtt, tsv, json, rttm, diarized_json
"""

__all__: list[str] = []
"""Import the module that you need: the engine costs a second to import, the formats nothing."""
