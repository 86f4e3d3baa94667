CREATE TABLE alignment (
	fid SERIAL NOT NULL, 
	alignment_id TEXT COLLATE "C" NOT NULL, 
	dataset TEXT NOT NULL, 
	method TEXT NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	scale DOUBLE PRECISION NOT NULL, 
	qx DOUBLE PRECISION NOT NULL, 
	qy DOUBLE PRECISION NOT NULL, 
	qz DOUBLE PRECISION NOT NULL, 
	qw DOUBLE PRECISION NOT NULL, 
	tx_m DOUBLE PRECISION NOT NULL, 
	ty_m DOUBLE PRECISION NOT NULL, 
	tz_m DOUBLE PRECISION NOT NULL, 
	covariance DOUBLE PRECISION[], 
	details JSONB NOT NULL, 
	CONSTRAINT pk_alignment PRIMARY KEY (fid), 
	CONSTRAINT uq_alignment_alignment_id UNIQUE (alignment_id)
);

COMMENT ON TABLE alignment IS 'Versions of the georeference of a dataset of anchors: world_from_local similarity with covariance.';

COMMENT ON COLUMN alignment.fid IS 'integer key for GIS software';

COMMENT ON COLUMN alignment.alignment_id IS 'name of the version; changes with its numbers';

COMMENT ON COLUMN alignment.dataset IS 'the anchors'' dataset';

COMMENT ON COLUMN alignment.method IS 'how it was found (known, gnss, joint, umeyama)';

COMMENT ON COLUMN alignment.created_at IS 'when it was computed, UTC';

COMMENT ON COLUMN alignment.scale IS 'scale of enu_from_local';

COMMENT ON COLUMN alignment.qx IS 'x of the unit quaternion enu_from_local';

COMMENT ON COLUMN alignment.qy IS 'y of the unit quaternion enu_from_local';

COMMENT ON COLUMN alignment.qz IS 'z of the unit quaternion enu_from_local';

COMMENT ON COLUMN alignment.qw IS 'w of the unit quaternion enu_from_local';

COMMENT ON COLUMN alignment.tx_m IS 'translation of enu_from_local, metres, x';

COMMENT ON COLUMN alignment.ty_m IS 'translation of enu_from_local, metres, y';

COMMENT ON COLUMN alignment.tz_m IS 'translation of enu_from_local, metres, z';

COMMENT ON COLUMN alignment.covariance IS '6x6 or 7x7 row-major: translation m, rotation rad, log scale';

COMMENT ON COLUMN alignment.details IS 'clicks, residuals and other explanations, JSON';

CREATE TABLE frame (
	fid SERIAL NOT NULL, 
	name TEXT NOT NULL, 
	lon_deg DOUBLE PRECISION NOT NULL, 
	lat_deg DOUBLE PRECISION NOT NULL, 
	height_m DOUBLE PRECISION NOT NULL, 
	geom geometry(POINT,4326) NOT NULL, 
	CONSTRAINT pk_frame PRIMARY KEY (fid), 
	CONSTRAINT ck_frame_one_row CHECK (fid = 1)
);

COMMENT ON TABLE frame IS 'The local east-north-up frame in which this scene is computed; exactly one row.';

COMMENT ON COLUMN frame.fid IS 'integer key for GIS software';

COMMENT ON COLUMN frame.name IS 'how people call the frame';

COMMENT ON COLUMN frame.lon_deg IS 'origin: longitude, degrees WGS84';

COMMENT ON COLUMN frame.lat_deg IS 'origin: latitude, degrees WGS84';

COMMENT ON COLUMN frame.height_m IS 'origin: height above the WGS84 ellipsoid, metres';

COMMENT ON COLUMN frame.geom IS 'origin, EPSG:4326';

CREATE INDEX ix_frame_geom ON frame USING gist (geom);

CREATE INDEX ix_frame_geom_geography ON frame USING gist ((geom::geography));

CREATE TABLE reason (
	fid SERIAL NOT NULL, 
	reason TEXT NOT NULL, 
	meaning TEXT NOT NULL, 
	CONSTRAINT pk_reason PRIMARY KEY (fid), 
	CONSTRAINT uq_reason_reason UNIQUE (reason)
);

COMMENT ON TABLE reason IS 'Why a photo is not corrected: the closed list.';

COMMENT ON COLUMN reason.fid IS 'integer key for GIS software';

COMMENT ON COLUMN reason.reason IS 'code';

COMMENT ON COLUMN reason.meaning IS 'the same for people';

CREATE TABLE run (
	fid SERIAL NOT NULL, 
	run_key TEXT COLLATE "C" NOT NULL, 
	started_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	last_started_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	finished_at TIMESTAMP WITH TIME ZONE, 
	n_starts INTEGER NOT NULL, 
	duration_s DOUBLE PRECISION NOT NULL, 
	config JSONB NOT NULL, 
	code_version TEXT NOT NULL, 
	matcher TEXT NOT NULL, 
	depth TEXT NOT NULL, 
	alignment_version TEXT NOT NULL, 
	rolled_back_at TIMESTAMP WITH TIME ZONE, 
	rolled_back_because TEXT, 
	CONSTRAINT pk_run PRIMARY KEY (fid), 
	CONSTRAINT uq_run_run_key UNIQUE (run_key)
);

COMMENT ON TABLE run IS 'One configuration that computed results; the same configuration run again goes on in the same row.';

COMMENT ON COLUMN run.fid IS 'integer key for GIS software';

COMMENT ON COLUMN run.run_key IS 'hash of configuration, code, weights and alignments';

COMMENT ON COLUMN run.started_at IS 'first start, UTC';

COMMENT ON COLUMN run.last_started_at IS 'latest start, UTC';

COMMENT ON COLUMN run.finished_at IS 'latest complete end, UTC; NULL while running or after an interruption';

COMMENT ON COLUMN run.n_starts IS 'how often it was started';

COMMENT ON COLUMN run.duration_s IS 'seconds of work in all finished starts';

COMMENT ON COLUMN run.config IS 'resolved configuration, JSON';

COMMENT ON COLUMN run.code_version IS 'version of geocorrect';

COMMENT ON COLUMN run.matcher IS 'matcher and its weights';

COMMENT ON COLUMN run.depth IS 'depth source and its weights';

COMMENT ON COLUMN run.alignment_version IS 'georeference of the anchors';

COMMENT ON COLUMN run.rolled_back_at IS 'set: the results of this run are not in force';

COMMENT ON COLUMN run.rolled_back_because IS 'why it was rolled back';

CREATE TABLE anchor (
	fid SERIAL NOT NULL, 
	anchor_id TEXT COLLATE "C" NOT NULL, 
	dataset TEXT NOT NULL, 
	drive_id TEXT COLLATE "C", 
	alignment_id TEXT COLLATE "C" NOT NULL, 
	captured_at TIMESTAMP WITH TIME ZONE, 
	lon_deg DOUBLE PRECISION NOT NULL, 
	lat_deg DOUBLE PRECISION NOT NULL, 
	height_m DOUBLE PRECISION NOT NULL, 
	enu_x_m DOUBLE PRECISION NOT NULL, 
	enu_y_m DOUBLE PRECISION NOT NULL, 
	enu_z_m DOUBLE PRECISION NOT NULL, 
	qx DOUBLE PRECISION NOT NULL, 
	qy DOUBLE PRECISION NOT NULL, 
	qz DOUBLE PRECISION NOT NULL, 
	qw DOUBLE PRECISION NOT NULL, 
	heading_deg DOUBLE PRECISION, 
	pitch_deg DOUBLE PRECISION, 
	roll_deg DOUBLE PRECISION, 
	covariance DOUBLE PRECISION[], 
	camera JSONB NOT NULL, 
	lidar JSONB, 
	path TEXT NOT NULL, 
	sha256 TEXT, 
	creator TEXT NOT NULL, 
	page_url TEXT NOT NULL, 
	licence TEXT NOT NULL, 
	geom geometry(POINTZ,4326) NOT NULL, 
	CONSTRAINT pk_anchor PRIMARY KEY (fid), 
	CONSTRAINT uq_anchor_anchor_id UNIQUE (anchor_id), 
	CONSTRAINT fk_anchor_alignment_id FOREIGN KEY(alignment_id) REFERENCES alignment (alignment_id)
);

CREATE INDEX ix_anchor_alignment_id ON anchor (alignment_id);

COMMENT ON TABLE anchor IS 'Reference images of known pose that photos are matched against.';

COMMENT ON COLUMN anchor.fid IS 'integer key for GIS software';

COMMENT ON COLUMN anchor.anchor_id IS 'id of the anchor';

COMMENT ON COLUMN anchor.dataset IS 'the dataset it comes from';

COMMENT ON COLUMN anchor.drive_id IS 'the drive it was taken on';

COMMENT ON COLUMN anchor.alignment_id IS 'the georeference that produced the pose';

COMMENT ON COLUMN anchor.captured_at IS 'exposure time, UTC';

COMMENT ON COLUMN anchor.lon_deg IS 'camera centre: longitude, degrees WGS84';

COMMENT ON COLUMN anchor.lat_deg IS 'camera centre: latitude, degrees WGS84';

COMMENT ON COLUMN anchor.height_m IS 'camera centre: height above the WGS84 ellipsoid, metres';

COMMENT ON COLUMN anchor.enu_x_m IS 'anchor pose: camera centre, metres east of the frame''s origin';

COMMENT ON COLUMN anchor.enu_y_m IS 'anchor pose: camera centre, metres north of the frame''s origin';

COMMENT ON COLUMN anchor.enu_z_m IS 'anchor pose: camera centre, metres up of the frame''s origin';

COMMENT ON COLUMN anchor.qx IS 'anchor pose: x of the unit quaternion enu_from_camera (x y z w; camera: x right, y down, z forward)';

COMMENT ON COLUMN anchor.qy IS 'anchor pose: y of the unit quaternion enu_from_camera (x y z w; camera: x right, y down, z forward)';

COMMENT ON COLUMN anchor.qz IS 'anchor pose: z of the unit quaternion enu_from_camera (x y z w; camera: x right, y down, z forward)';

COMMENT ON COLUMN anchor.qw IS 'anchor pose: w of the unit quaternion enu_from_camera (x y z w; camera: x right, y down, z forward)';

COMMENT ON COLUMN anchor.heading_deg IS 'anchor pose: optical axis clockwise from true north, degrees; NULL straight up or down';

COMMENT ON COLUMN anchor.pitch_deg IS 'anchor pose: degrees above the horizon';

COMMENT ON COLUMN anchor.roll_deg IS 'anchor pose: degrees, clockwise positive; NULL straight up or down';

COMMENT ON COLUMN anchor.covariance IS '6x6 row-major of the pose: translation m (east, north, up), rotation rad';

COMMENT ON COLUMN anchor.camera IS 'camera model of the image file, JSON';

COMMENT ON COLUMN anchor.lidar IS 'laser scan of the same moment, JSON';

COMMENT ON COLUMN anchor.path IS 'image file';

COMMENT ON COLUMN anchor.sha256 IS 'hash of the image file';

COMMENT ON COLUMN anchor.creator IS 'who made the photo';

COMMENT ON COLUMN anchor.page_url IS 'where the photo is published';

COMMENT ON COLUMN anchor.licence IS 'licence of the photo';

COMMENT ON COLUMN anchor.geom IS 'camera centre, EPSG:4326 with ellipsoidal height';

CREATE INDEX ix_anchor_geom ON anchor USING gist (geom);

CREATE INDEX ix_anchor_geom_geography ON anchor USING gist ((geom::geography));

CREATE TABLE image (
	fid SERIAL NOT NULL, 
	image_id TEXT COLLATE "C" NOT NULL, 
	sequence_id TEXT COLLATE "C", 
	captured_at TIMESTAMP WITH TIME ZONE, 
	lon_deg DOUBLE PRECISION, 
	lat_deg DOUBLE PRECISION, 
	height_m DOUBLE PRECISION, 
	height_reference TEXT, 
	heading_deg DOUBLE PRECISION, 
	computed_lon_deg DOUBLE PRECISION, 
	computed_lat_deg DOUBLE PRECISION, 
	computed_height_m DOUBLE PRECISION, 
	computed_height_reference TEXT, 
	computed_heading_deg DOUBLE PRECISION, 
	quality TEXT NOT NULL, 
	computed_pose JSONB, 
	device_make TEXT, 
	device_model TEXT, 
	camera JSONB, 
	horizontal_fov_deg DOUBLE PRECISION, 
	exif_orientation INTEGER NOT NULL, 
	path TEXT, 
	sha256 TEXT, 
	harvested_at TIMESTAMP WITH TIME ZONE, 
	problem TEXT, 
	creator TEXT NOT NULL, 
	page_url TEXT NOT NULL, 
	licence TEXT NOT NULL, 
	provider JSONB NOT NULL, 
	content_hash TEXT NOT NULL, 
	geom geometry(POINT,4326), 
	CONSTRAINT pk_image PRIMARY KEY (fid), 
	CONSTRAINT uq_image_image_id UNIQUE (image_id), 
	CONSTRAINT fk_image_problem FOREIGN KEY(problem) REFERENCES reason (reason)
);

CREATE INDEX ix_image_sequence_id ON image (sequence_id);

COMMENT ON TABLE image IS 'Crowd-sourced photos as their provider describes them.';

COMMENT ON COLUMN image.fid IS 'integer key for GIS software';

COMMENT ON COLUMN image.image_id IS 'id of the photo at its provider';

COMMENT ON COLUMN image.sequence_id IS 'the recording it belongs to';

COMMENT ON COLUMN image.captured_at IS 'exposure time, UTC';

COMMENT ON COLUMN image.lon_deg IS 'longitude that the device reported, degrees WGS84';

COMMENT ON COLUMN image.lat_deg IS 'latitude that the device reported, degrees WGS84';

COMMENT ON COLUMN image.height_m IS 'height that the device reported, metres (see height_reference)';

COMMENT ON COLUMN image.height_reference IS 'what height_m is measured from (ellipsoid, unknown, or a vertical CRS)';

COMMENT ON COLUMN image.heading_deg IS 'compass heading that the device reported, degrees clockwise from true north';

COMMENT ON COLUMN image.computed_lon_deg IS 'longitude computed by the provider, degrees WGS84 (for comparison only)';

COMMENT ON COLUMN image.computed_lat_deg IS 'latitude computed by the provider, degrees WGS84 (for comparison only)';

COMMENT ON COLUMN image.computed_height_m IS 'height computed by the provider, metres (for comparison only)';

COMMENT ON COLUMN image.computed_height_reference IS 'what computed_height_m is measured from';

COMMENT ON COLUMN image.computed_heading_deg IS 'heading computed by the provider, degrees from true north (for comparison only)';

COMMENT ON COLUMN image.quality IS 'what the provider''s computed fields are worth: raw_only, default or sfm';

COMMENT ON COLUMN image.computed_pose IS 'provider''s enu_from_camera: quaternion xyzw, translation m; JSON';

COMMENT ON COLUMN image.device_make IS 'maker of the device';

COMMENT ON COLUMN image.device_model IS 'model of the device';

COMMENT ON COLUMN image.camera IS 'camera model of the image file, JSON; NULL when unusable';

COMMENT ON COLUMN image.horizontal_fov_deg IS 'horizontal field of view, degrees';

COMMENT ON COLUMN image.exif_orientation IS 'EXIF orientation of the file, 1 to 8';

COMMENT ON COLUMN image.path IS 'image file; NULL until downloaded';

COMMENT ON COLUMN image.sha256 IS 'hash of the image file';

COMMENT ON COLUMN image.harvested_at IS 'when the metadata was read, UTC';

COMMENT ON COLUMN image.problem IS 'why the photo is not tried at all';

COMMENT ON COLUMN image.creator IS 'who made the photo';

COMMENT ON COLUMN image.page_url IS 'where the photo is published';

COMMENT ON COLUMN image.licence IS 'licence of the photo';

COMMENT ON COLUMN image.provider IS 'remaining raw metadata of the provider, JSON';

COMMENT ON COLUMN image.content_hash IS 'hash of everything a result depends on; a change makes the photo due again';

COMMENT ON COLUMN image.geom IS 'position that the device reported, EPSG:4326';

CREATE INDEX ix_image_geom ON image USING gist (geom);

CREATE INDEX ix_image_geom_geography ON image USING gist ((geom::geography));

CREATE TABLE correction (
	fid SERIAL NOT NULL, 
	image_id TEXT COLLATE "C" NOT NULL, 
	run_id INTEGER NOT NULL, 
	status TEXT NOT NULL, 
	reason TEXT, 
	detail TEXT NOT NULL, 
	recorded_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	content_hash TEXT NOT NULL, 
	lon_deg DOUBLE PRECISION, 
	lat_deg DOUBLE PRECISION, 
	height_m DOUBLE PRECISION, 
	enu_x_m DOUBLE PRECISION, 
	enu_y_m DOUBLE PRECISION, 
	enu_z_m DOUBLE PRECISION, 
	qx DOUBLE PRECISION, 
	qy DOUBLE PRECISION, 
	qz DOUBLE PRECISION, 
	qw DOUBLE PRECISION, 
	heading_deg DOUBLE PRECISION, 
	pitch_deg DOUBLE PRECISION, 
	roll_deg DOUBLE PRECISION, 
	covariance DOUBLE PRECISION[], 
	semi_major_m DOUBLE PRECISION, 
	semi_minor_m DOUBLE PRECISION, 
	ellipse_azimuth_deg DOUBLE PRECISION, 
	sigma_height_m DOUBLE PRECISION, 
	expected_error_m DOUBLE PRECISION, 
	expected_heading_error_deg DOUBLE PRECISION, 
	displacement_m DOUBLE PRECISION, 
	displacement_east_m DOUBLE PRECISION, 
	displacement_north_m DOUBLE PRECISION, 
	heading_change_deg DOUBLE PRECISION, 
	matcher TEXT NOT NULL, 
	depth TEXT NOT NULL, 
	depth_is_oracle BOOLEAN NOT NULL, 
	scale_source TEXT, 
	n_anchors INTEGER NOT NULL, 
	n_matches INTEGER NOT NULL, 
	n_inliers INTEGER NOT NULL, 
	inlier_coverage DOUBLE PRECISION, 
	median_residual_px DOUBLE PRECISION, 
	anchor_spread_m DOUBLE PRECISION, 
	evidence JSONB NOT NULL, 
	geom geometry(POINTZ,4326), 
	CONSTRAINT pk_correction PRIMARY KEY (fid), 
	CONSTRAINT uq_correction_image_id_run_id UNIQUE (image_id, run_id), 
	CONSTRAINT ck_correction_status CHECK (status in ('accepted', 'review', 'rejected')), 
	CONSTRAINT ck_correction_reason CHECK ((status = 'rejected') = (reason is not null)), 
	CONSTRAINT ck_correction_geom CHECK ((status = 'rejected') = (geom is null)), 
	CONSTRAINT fk_correction_image_id FOREIGN KEY(image_id) REFERENCES image (image_id), 
	CONSTRAINT fk_correction_run_id FOREIGN KEY(run_id) REFERENCES run (fid), 
	CONSTRAINT fk_correction_reason FOREIGN KEY(reason) REFERENCES reason (reason)
);

CREATE INDEX ix_correction_run_id_status ON correction (run_id, status);

COMMENT ON TABLE correction IS 'Results, one per photo and run, never changed: a corrected pose, or the reason why there is none.';

COMMENT ON COLUMN correction.fid IS 'integer key for GIS software';

COMMENT ON COLUMN correction.image_id IS 'the photo';

COMMENT ON COLUMN correction.run_id IS 'fid of the run';

COMMENT ON COLUMN correction.status IS 'accepted, review or rejected';

COMMENT ON COLUMN correction.reason IS 'why rejected; NULL otherwise';

COMMENT ON COLUMN correction.detail IS 'the reason in one sentence with numbers';

COMMENT ON COLUMN correction.recorded_at IS 'when the result was stored, UTC';

COMMENT ON COLUMN correction.content_hash IS 'image.content_hash that the result rests on';

COMMENT ON COLUMN correction.lon_deg IS 'corrected camera centre: longitude, degrees WGS84';

COMMENT ON COLUMN correction.lat_deg IS 'corrected camera centre: latitude, degrees WGS84';

COMMENT ON COLUMN correction.height_m IS 'corrected camera centre: height above the WGS84 ellipsoid, metres';

COMMENT ON COLUMN correction.enu_x_m IS 'corrected pose: camera centre, metres east of the frame''s origin';

COMMENT ON COLUMN correction.enu_y_m IS 'corrected pose: camera centre, metres north of the frame''s origin';

COMMENT ON COLUMN correction.enu_z_m IS 'corrected pose: camera centre, metres up of the frame''s origin';

COMMENT ON COLUMN correction.qx IS 'corrected pose: x of the unit quaternion enu_from_camera (x y z w; camera: x right, y down, z forward)';

COMMENT ON COLUMN correction.qy IS 'corrected pose: y of the unit quaternion enu_from_camera (x y z w; camera: x right, y down, z forward)';

COMMENT ON COLUMN correction.qz IS 'corrected pose: z of the unit quaternion enu_from_camera (x y z w; camera: x right, y down, z forward)';

COMMENT ON COLUMN correction.qw IS 'corrected pose: w of the unit quaternion enu_from_camera (x y z w; camera: x right, y down, z forward)';

COMMENT ON COLUMN correction.heading_deg IS 'corrected pose: optical axis clockwise from true north, degrees; NULL straight up or down';

COMMENT ON COLUMN correction.pitch_deg IS 'corrected pose: degrees above the horizon';

COMMENT ON COLUMN correction.roll_deg IS 'corrected pose: degrees, clockwise positive; NULL straight up or down';

COMMENT ON COLUMN correction.covariance IS '6x6 row-major of the pose: translation m (east, north, up), rotation rad';

COMMENT ON COLUMN correction.semi_major_m IS 'semi-major axis of the horizontal 95 % error ellipse, metres';

COMMENT ON COLUMN correction.semi_minor_m IS 'semi-minor axis of the horizontal 95 % error ellipse, metres';

COMMENT ON COLUMN correction.ellipse_azimuth_deg IS 'direction of the semi-major axis, degrees clockwise from true north, 0 to 180';

COMMENT ON COLUMN correction.sigma_height_m IS 'standard deviation of the height, metres';

COMMENT ON COLUMN correction.expected_error_m IS 'predicted horizontal error, 68 %, metres';

COMMENT ON COLUMN correction.expected_heading_error_deg IS 'predicted heading error, 68 %, degrees';

COMMENT ON COLUMN correction.displacement_m IS 'horizontal distance from the reported to the corrected position, metres';

COMMENT ON COLUMN correction.displacement_east_m IS 'corrected minus reported position, metres east';

COMMENT ON COLUMN correction.displacement_north_m IS 'corrected minus reported position, metres north';

COMMENT ON COLUMN correction.heading_change_deg IS 'corrected minus reported heading, -180 to 180 degrees';

COMMENT ON COLUMN correction.matcher IS 'matcher that found the correspondences';

COMMENT ON COLUMN correction.depth IS 'depth source';

COMMENT ON COLUMN correction.depth_is_oracle IS 'true: the depth was measured (LiDAR), not predicted';

COMMENT ON COLUMN correction.scale_source IS 'what fixed the metric scale: depth, baselines or both';

COMMENT ON COLUMN correction.n_anchors IS 'anchors that contributed inliers';

COMMENT ON COLUMN correction.n_matches IS 'correspondences found';

COMMENT ON COLUMN correction.n_inliers IS 'correspondences that agree with the pose';

COMMENT ON COLUMN correction.inlier_coverage IS 'share of the photo that the inliers cover, 0 to 1';

COMMENT ON COLUMN correction.median_residual_px IS 'median reprojection residual of the inliers, pixels';

COMMENT ON COLUMN correction.anchor_spread_m IS 'spread of the poses from single anchors, metres';

COMMENT ON COLUMN correction.evidence IS 'everything the result rests on, JSON';

COMMENT ON COLUMN correction.geom IS 'corrected camera centre, EPSG:4326 with ellipsoidal height';

CREATE INDEX ix_correction_geom ON correction USING gist (geom);

CREATE INDEX ix_correction_geom_geography ON correction USING gist ((geom::geography));

CREATE TABLE image_history (
	fid SERIAL NOT NULL, 
	image_id TEXT COLLATE "C" NOT NULL, 
	replaced_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	lon_deg DOUBLE PRECISION, 
	lat_deg DOUBLE PRECISION, 
	height_m DOUBLE PRECISION, 
	height_reference TEXT, 
	heading_deg DOUBLE PRECISION, 
	computed_lon_deg DOUBLE PRECISION, 
	computed_lat_deg DOUBLE PRECISION, 
	computed_height_m DOUBLE PRECISION, 
	computed_height_reference TEXT, 
	computed_heading_deg DOUBLE PRECISION, 
	quality TEXT NOT NULL, 
	CONSTRAINT pk_image_history PRIMARY KEY (fid), 
	CONSTRAINT fk_image_history_image_id FOREIGN KEY(image_id) REFERENCES image (image_id)
);

CREATE INDEX ix_image_history_image_id ON image_history (image_id);

COMMENT ON TABLE image_history IS 'What the provider said about a photo before it said something else.';

COMMENT ON COLUMN image_history.fid IS 'integer key for GIS software';

COMMENT ON COLUMN image_history.image_id IS 'the photo';

COMMENT ON COLUMN image_history.replaced_at IS 'until when these values held, UTC';

COMMENT ON COLUMN image_history.lon_deg IS 'longitude that the device reported, degrees WGS84';

COMMENT ON COLUMN image_history.lat_deg IS 'latitude that the device reported, degrees WGS84';

COMMENT ON COLUMN image_history.height_m IS 'height that the device reported, metres (see height_reference)';

COMMENT ON COLUMN image_history.height_reference IS 'what height_m is measured from (ellipsoid, unknown, or a vertical CRS)';

COMMENT ON COLUMN image_history.heading_deg IS 'compass heading that the device reported, degrees clockwise from true north';

COMMENT ON COLUMN image_history.computed_lon_deg IS 'longitude computed by the provider, degrees WGS84 (for comparison only)';

COMMENT ON COLUMN image_history.computed_lat_deg IS 'latitude computed by the provider, degrees WGS84 (for comparison only)';

COMMENT ON COLUMN image_history.computed_height_m IS 'height computed by the provider, metres (for comparison only)';

COMMENT ON COLUMN image_history.computed_height_reference IS 'what computed_height_m is measured from';

COMMENT ON COLUMN image_history.computed_heading_deg IS 'heading computed by the provider, degrees from true north (for comparison only)';

COMMENT ON COLUMN image_history.quality IS 'what the provider''s computed fields are worth: raw_only, default or sfm';

CREATE TABLE pair (
	fid SERIAL NOT NULL, 
	correction_id INTEGER NOT NULL, 
	anchor_id TEXT COLLATE "C" NOT NULL, 
	rank INTEGER NOT NULL, 
	distance_m DOUBLE PRECISION, 
	heading_difference_deg DOUBLE PRECISION, 
	n_matches INTEGER, 
	n_verified INTEGER, 
	n_points INTEGER, 
	n_inliers INTEGER, 
	median_residual_px DOUBLE PRECISION, 
	single_anchor_shift_m DOUBLE PRECISION, 
	weight DOUBLE PRECISION, 
	CONSTRAINT pk_pair PRIMARY KEY (fid), 
	CONSTRAINT uq_pair_correction_id_anchor_id UNIQUE (correction_id, anchor_id), 
	CONSTRAINT fk_pair_correction_id FOREIGN KEY(correction_id) REFERENCES correction (fid) ON DELETE CASCADE, 
	CONSTRAINT fk_pair_anchor_id FOREIGN KEY(anchor_id) REFERENCES anchor (anchor_id)
);

CREATE INDEX ix_pair_anchor_id ON pair (anchor_id);

COMMENT ON TABLE pair IS 'What each anchor contributed to a result.';

COMMENT ON COLUMN pair.fid IS 'integer key for GIS software';

COMMENT ON COLUMN pair.correction_id IS 'fid of the result';

COMMENT ON COLUMN pair.anchor_id IS 'the anchor';

COMMENT ON COLUMN pair.rank IS 'place of the anchor among the candidates, 0 first';

COMMENT ON COLUMN pair.distance_m IS 'distance of the anchor from the reported position, metres';

COMMENT ON COLUMN pair.heading_difference_deg IS 'difference of the headings, degrees';

COMMENT ON COLUMN pair.n_matches IS 'correspondences found';

COMMENT ON COLUMN pair.n_verified IS 'correspondences that agree with one epipolar geometry';

COMMENT ON COLUMN pair.n_points IS 'of these, with a known depth';

COMMENT ON COLUMN pair.n_inliers IS 'of these, in agreement with the pose';

COMMENT ON COLUMN pair.median_residual_px IS 'median reprojection residual, pixels';

COMMENT ON COLUMN pair.single_anchor_shift_m IS 'distance between the pose from this anchor alone and the joint pose, metres';

COMMENT ON COLUMN pair.weight IS 'weight of the anchor in the joint pose';

CREATE TABLE retraction (
	fid SERIAL NOT NULL, 
	correction_id INTEGER NOT NULL, 
	retracted_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	because TEXT NOT NULL, 
	CONSTRAINT pk_retraction PRIMARY KEY (fid), 
	CONSTRAINT uq_retraction_correction_id UNIQUE (correction_id), 
	CONSTRAINT fk_retraction_correction_id FOREIGN KEY(correction_id) REFERENCES correction (fid) ON DELETE CASCADE
);

COMMENT ON TABLE retraction IS 'Results that a person has withdrawn; a row here takes the result out of force.';

COMMENT ON COLUMN retraction.fid IS 'integer key for GIS software';

COMMENT ON COLUMN retraction.correction_id IS 'fid of the result';

COMMENT ON COLUMN retraction.retracted_at IS 'when, UTC';

COMMENT ON COLUMN retraction.because IS 'why';
