CREATE TABLE run_basis (
	fid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	run_id INTEGER NOT NULL, 
	basis_id INTEGER NOT NULL, 
	CONSTRAINT uq_run_basis_run_id_basis_id UNIQUE (run_id, basis_id), 
	CONSTRAINT fk_run_basis_run_id FOREIGN KEY(run_id) REFERENCES run (fid), 
	CONSTRAINT fk_run_basis_basis_id FOREIGN KEY(basis_id) REFERENCES run (fid)
);

CREATE TABLE sequence_finding (
	fid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	run_id INTEGER NOT NULL, 
	sequence_id TEXT NOT NULL, 
	input_hash TEXT NOT NULL, 
	recorded_at DATETIME NOT NULL, 
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
	median_east_m DOUBLE, 
	median_north_m DOUBLE, 
	spread_m DOUBLE, 
	heading_bias_deg DOUBLE, 
	lag_s DOUBLE, 
	translation_noise DOUBLE, 
	rotation_noise DOUBLE, 
	CONSTRAINT uq_sequence_finding_run_id_sequence_id UNIQUE (run_id, sequence_id), 
	CONSTRAINT fk_sequence_finding_run_id FOREIGN KEY(run_id) REFERENCES run (fid)
);

CREATE INDEX ix_sequence_finding_sequence_id ON sequence_finding (sequence_id);
