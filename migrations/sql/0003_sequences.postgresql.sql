CREATE TABLE run_basis (
	fid SERIAL NOT NULL, 
	run_id INTEGER NOT NULL, 
	basis_id INTEGER NOT NULL, 
	CONSTRAINT pk_run_basis PRIMARY KEY (fid), 
	CONSTRAINT uq_run_basis_run_id_basis_id UNIQUE (run_id, basis_id), 
	CONSTRAINT fk_run_basis_run_id FOREIGN KEY(run_id) REFERENCES run (fid), 
	CONSTRAINT fk_run_basis_basis_id FOREIGN KEY(basis_id) REFERENCES run (fid)
);

COMMENT ON TABLE run_basis IS 'Runs whose results another run rests on; when one of them is rolled back, the other is not in force either.';

COMMENT ON COLUMN run_basis.fid IS 'integer key for GIS software';

COMMENT ON COLUMN run_basis.run_id IS 'fid of the run that rests on another';

COMMENT ON COLUMN run_basis.basis_id IS 'fid of the run that it rests on';

CREATE TABLE sequence_finding (
	fid SERIAL NOT NULL, 
	run_id INTEGER NOT NULL, 
	sequence_id TEXT COLLATE "C" NOT NULL, 
	input_hash TEXT NOT NULL, 
	recorded_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	motion TEXT NOT NULL, 
	note TEXT NOT NULL, 
	n_photos INTEGER NOT NULL, 
	n_results INTEGER NOT NULL, 
	n_trusted INTEGER NOT NULL, 
	n_flagged INTEGER NOT NULL, 
	n_doubted INTEGER NOT NULL, 
	n_placed INTEGER NOT NULL, 
	n_sharpened INTEGER NOT NULL, 
	device_make TEXT, 
	device_model TEXT, 
	median_east_m DOUBLE PRECISION, 
	median_north_m DOUBLE PRECISION, 
	spread_m DOUBLE PRECISION, 
	heading_bias_deg DOUBLE PRECISION, 
	lag_s DOUBLE PRECISION, 
	translation_noise DOUBLE PRECISION, 
	rotation_noise DOUBLE PRECISION, 
	CONSTRAINT pk_sequence_finding PRIMARY KEY (fid), 
	CONSTRAINT uq_sequence_finding_run_id_sequence_id UNIQUE (run_id, sequence_id), 
	CONSTRAINT fk_sequence_finding_run_id FOREIGN KEY(run_id) REFERENCES run (fid)
);

CREATE INDEX ix_sequence_finding_sequence_id ON sequence_finding (sequence_id);

COMMENT ON TABLE sequence_finding IS 'What a sequence as a whole says: about its results, and about the device. Signs: corrected minus reported.';

COMMENT ON COLUMN sequence_finding.fid IS 'integer key for GIS software';

COMMENT ON COLUMN sequence_finding.run_id IS 'fid of the run';

COMMENT ON COLUMN sequence_finding.sequence_id IS 'the recording';

COMMENT ON COLUMN sequence_finding.input_hash IS 'hash of everything that the finding rests on';

COMMENT ON COLUMN sequence_finding.recorded_at IS 'when it was stored, UTC';

COMMENT ON COLUMN sequence_finding.motion IS 'where the motion comes from: sfm_cluster, computed, gps, joined by +; empty when unknown';

COMMENT ON COLUMN sequence_finding.note IS 'why nothing could be said; empty otherwise';

COMMENT ON COLUMN sequence_finding.n_photos IS 'photos of the sequence';

COMMENT ON COLUMN sequence_finding.n_results IS 'of these, with a result of their own';

COMMENT ON COLUMN sequence_finding.n_trusted IS 'results that agree with the sequence';

COMMENT ON COLUMN sequence_finding.n_flagged IS 'results that contradict it and are rejected';

COMMENT ON COLUMN sequence_finding.n_doubted IS 'results that contradict it and wait for review';

COMMENT ON COLUMN sequence_finding.n_placed IS 'photos without a result that were placed';

COMMENT ON COLUMN sequence_finding.n_sharpened IS 'results that were sharpened or confirmed';

COMMENT ON COLUMN sequence_finding.device_make IS 'maker of the device';

COMMENT ON COLUMN sequence_finding.device_model IS 'model of the device';

COMMENT ON COLUMN sequence_finding.median_east_m IS 'median of corrected minus reported position, metres east';

COMMENT ON COLUMN sequence_finding.median_north_m IS 'median of corrected minus reported position, metres north';

COMMENT ON COLUMN sequence_finding.spread_m IS '1.48 times the median absolute deviation from that, metres';

COMMENT ON COLUMN sequence_finding.heading_bias_deg IS 'median of corrected minus reported heading, degrees';

COMMENT ON COLUMN sequence_finding.lag_s IS 'by how much the reported positions trail the photos, seconds; NULL where it cannot be told';

COMMENT ON COLUMN sequence_finding.translation_noise IS 'noise of the motion relative to its options, in translation';

COMMENT ON COLUMN sequence_finding.rotation_noise IS 'noise of the motion relative to its options, in rotation';
