"""An offline transcription server that speaks OpenAI's audio API.

limits        every bound on what a client may make the server hold or do
errors        what a client is told, in OpenAI's shape
keys          who may call: API keys, held as hashes
places        how much may be taken in at once, in all and by one caller
service       the models that are loaded now, and how they are exchanged
hearing       a request -> the scheduler -> what it heard, stopped when the client goes
wishes, speakers    the form of a request -> what to transcribe, and how; who speaks
schemas       bodies, as OpenAI documents them
answers       what was heard -> the body of a response
witness       where it comes from, in headers and body, signed where asked
languages     ISO 639-1 -> the names that OpenAI writes
gateway       what every request passes: id, log, key, place, bounded body
transcribing, catalogue, status    the routes
application   all of it as one application
page          `/`: transcription for people, in a browser
documentation, reference    the API for who programs: `/docs`, docs/api.md
metrics, logs      for Prometheus, for journald
listener, tls, running    the socket, the certificate, signals
unit          the systemd unit
"""

__all__: list[str] = []
