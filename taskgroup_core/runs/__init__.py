"""Run records: experiments, provenance, storage, recordings, execution of notebooks."""
