CREATE TABLE alignment (
	fid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	alignment_id TEXT NOT NULL, 
	dataset TEXT NOT NULL, 
	method TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	scale DOUBLE NOT NULL, 
	qx DOUBLE NOT NULL, 
	qy DOUBLE NOT NULL, 
	qz DOUBLE NOT NULL, 
	qw DOUBLE NOT NULL, 
	tx_m DOUBLE NOT NULL, 
	ty_m DOUBLE NOT NULL, 
	tz_m DOUBLE NOT NULL, 
	covariance TEXT, 
	details TEXT NOT NULL, 
	CONSTRAINT uq_alignment_alignment_id UNIQUE (alignment_id)
);

CREATE TABLE frame (
	fid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	name TEXT NOT NULL, 
	lon_deg DOUBLE NOT NULL, 
	lat_deg DOUBLE NOT NULL, 
	height_m DOUBLE NOT NULL, 
	geom POINT NOT NULL, 
	CONSTRAINT ck_frame_one_row CHECK (fid = 1)
);

CREATE TABLE reason (
	fid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	reason TEXT NOT NULL, 
	meaning TEXT NOT NULL, 
	CONSTRAINT uq_reason_reason UNIQUE (reason)
);

CREATE TABLE run (
	fid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	run_key TEXT NOT NULL, 
	started_at DATETIME NOT NULL, 
	last_started_at DATETIME NOT NULL, 
	finished_at DATETIME, 
	n_starts INTEGER NOT NULL, 
	duration_s DOUBLE NOT NULL, 
	config TEXT NOT NULL, 
	code_version TEXT NOT NULL, 
	matcher TEXT NOT NULL, 
	depth TEXT NOT NULL, 
	alignment_version TEXT NOT NULL, 
	rolled_back_at DATETIME, 
	rolled_back_because TEXT, 
	CONSTRAINT uq_run_run_key UNIQUE (run_key)
);

CREATE TABLE anchor (
	fid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	anchor_id TEXT NOT NULL, 
	dataset TEXT NOT NULL, 
	drive_id TEXT, 
	alignment_id TEXT NOT NULL, 
	captured_at DATETIME, 
	lon_deg DOUBLE NOT NULL, 
	lat_deg DOUBLE NOT NULL, 
	height_m DOUBLE NOT NULL, 
	enu_x_m DOUBLE NOT NULL, 
	enu_y_m DOUBLE NOT NULL, 
	enu_z_m DOUBLE NOT NULL, 
	qx DOUBLE NOT NULL, 
	qy DOUBLE NOT NULL, 
	qz DOUBLE NOT NULL, 
	qw DOUBLE NOT NULL, 
	heading_deg DOUBLE, 
	pitch_deg DOUBLE, 
	roll_deg DOUBLE, 
	covariance TEXT, 
	camera TEXT NOT NULL, 
	lidar TEXT, 
	path TEXT NOT NULL, 
	sha256 TEXT, 
	creator TEXT NOT NULL, 
	page_url TEXT NOT NULL, 
	licence TEXT NOT NULL, 
	geom POINT NOT NULL, 
	CONSTRAINT uq_anchor_anchor_id UNIQUE (anchor_id), 
	CONSTRAINT fk_anchor_alignment_id FOREIGN KEY(alignment_id) REFERENCES alignment (alignment_id)
);

CREATE INDEX ix_anchor_alignment_id ON anchor (alignment_id);

CREATE TABLE image (
	fid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	image_id TEXT NOT NULL, 
	sequence_id TEXT, 
	captured_at DATETIME, 
	lon_deg DOUBLE, 
	lat_deg DOUBLE, 
	height_m DOUBLE, 
	height_reference TEXT, 
	heading_deg DOUBLE, 
	computed_lon_deg DOUBLE, 
	computed_lat_deg DOUBLE, 
	computed_height_m DOUBLE, 
	computed_height_reference TEXT, 
	computed_heading_deg DOUBLE, 
	quality TEXT NOT NULL, 
	computed_pose TEXT, 
	device_make TEXT, 
	device_model TEXT, 
	camera TEXT, 
	horizontal_fov_deg DOUBLE, 
	exif_orientation INTEGER NOT NULL, 
	path TEXT, 
	sha256 TEXT, 
	harvested_at DATETIME, 
	problem TEXT, 
	creator TEXT NOT NULL, 
	page_url TEXT NOT NULL, 
	licence TEXT NOT NULL, 
	provider TEXT NOT NULL, 
	content_hash TEXT NOT NULL, 
	geom POINT, 
	CONSTRAINT uq_image_image_id UNIQUE (image_id), 
	CONSTRAINT fk_image_problem FOREIGN KEY(problem) REFERENCES reason (reason)
);

CREATE INDEX ix_image_sequence_id ON image (sequence_id);

CREATE TABLE correction (
	fid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	image_id TEXT NOT NULL, 
	run_id INTEGER NOT NULL, 
	status TEXT NOT NULL, 
	reason TEXT, 
	detail TEXT NOT NULL, 
	recorded_at DATETIME NOT NULL, 
	content_hash TEXT NOT NULL, 
	lon_deg DOUBLE, 
	lat_deg DOUBLE, 
	height_m DOUBLE, 
	enu_x_m DOUBLE, 
	enu_y_m DOUBLE, 
	enu_z_m DOUBLE, 
	qx DOUBLE, 
	qy DOUBLE, 
	qz DOUBLE, 
	qw DOUBLE, 
	heading_deg DOUBLE, 
	pitch_deg DOUBLE, 
	roll_deg DOUBLE, 
	covariance TEXT, 
	semi_major_m DOUBLE, 
	semi_minor_m DOUBLE, 
	ellipse_azimuth_deg DOUBLE, 
	sigma_height_m DOUBLE, 
	expected_error_m DOUBLE, 
	expected_heading_error_deg DOUBLE, 
	displacement_m DOUBLE, 
	displacement_east_m DOUBLE, 
	displacement_north_m DOUBLE, 
	heading_change_deg DOUBLE, 
	matcher TEXT NOT NULL, 
	depth TEXT NOT NULL, 
	depth_is_oracle BOOLEAN NOT NULL, 
	scale_source TEXT, 
	n_anchors INTEGER NOT NULL, 
	n_matches INTEGER NOT NULL, 
	n_inliers INTEGER NOT NULL, 
	inlier_coverage DOUBLE, 
	median_residual_px DOUBLE, 
	anchor_spread_m DOUBLE, 
	evidence TEXT NOT NULL, 
	geom POINT, 
	CONSTRAINT uq_correction_image_id_run_id UNIQUE (image_id, run_id), 
	CONSTRAINT ck_correction_status CHECK (status in ('accepted', 'review', 'rejected')), 
	CONSTRAINT ck_correction_reason CHECK ((status = 'rejected') = (reason is not null)), 
	CONSTRAINT ck_correction_geom CHECK ((status = 'rejected') = (geom is null)), 
	CONSTRAINT fk_correction_image_id FOREIGN KEY(image_id) REFERENCES image (image_id), 
	CONSTRAINT fk_correction_run_id FOREIGN KEY(run_id) REFERENCES run (fid), 
	CONSTRAINT fk_correction_reason FOREIGN KEY(reason) REFERENCES reason (reason)
);

CREATE INDEX ix_correction_run_id_status ON correction (run_id, status);

CREATE TABLE image_history (
	fid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	image_id TEXT NOT NULL, 
	replaced_at DATETIME NOT NULL, 
	lon_deg DOUBLE, 
	lat_deg DOUBLE, 
	height_m DOUBLE, 
	height_reference TEXT, 
	heading_deg DOUBLE, 
	computed_lon_deg DOUBLE, 
	computed_lat_deg DOUBLE, 
	computed_height_m DOUBLE, 
	computed_height_reference TEXT, 
	computed_heading_deg DOUBLE, 
	quality TEXT NOT NULL, 
	CONSTRAINT fk_image_history_image_id FOREIGN KEY(image_id) REFERENCES image (image_id)
);

CREATE INDEX ix_image_history_image_id ON image_history (image_id);

CREATE TABLE correction_shape (
	fid INTEGER NOT NULL, 
	displacement LINESTRING, 
	ellipse POLYGON, 
	wedge POLYGON, 
	CONSTRAINT pk_correction_shape PRIMARY KEY (fid), 
	CONSTRAINT fk_correction_shape_fid FOREIGN KEY(fid) REFERENCES correction (fid) ON DELETE CASCADE
);

CREATE TABLE pair (
	fid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	correction_id INTEGER NOT NULL, 
	anchor_id TEXT NOT NULL, 
	rank INTEGER NOT NULL, 
	distance_m DOUBLE, 
	heading_difference_deg DOUBLE, 
	n_matches INTEGER, 
	n_verified INTEGER, 
	n_points INTEGER, 
	n_inliers INTEGER, 
	median_residual_px DOUBLE, 
	single_anchor_shift_m DOUBLE, 
	weight DOUBLE, 
	CONSTRAINT uq_pair_correction_id_anchor_id UNIQUE (correction_id, anchor_id), 
	CONSTRAINT fk_pair_correction_id FOREIGN KEY(correction_id) REFERENCES correction (fid) ON DELETE CASCADE, 
	CONSTRAINT fk_pair_anchor_id FOREIGN KEY(anchor_id) REFERENCES anchor (anchor_id)
);

CREATE INDEX ix_pair_anchor_id ON pair (anchor_id);

CREATE TABLE retraction (
	fid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	correction_id INTEGER NOT NULL, 
	retracted_at DATETIME NOT NULL, 
	because TEXT NOT NULL, 
	CONSTRAINT uq_retraction_correction_id UNIQUE (correction_id), 
	CONSTRAINT fk_retraction_correction_id FOREIGN KEY(correction_id) REFERENCES correction (fid) ON DELETE CASCADE
);
