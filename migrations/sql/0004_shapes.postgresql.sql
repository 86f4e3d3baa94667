CREATE TABLE correction_shape (
	fid INTEGER NOT NULL, 
	displacement geometry(LINESTRING,4326), 
	ellipse geometry(POLYGON,4326), 
	wedge geometry(POLYGON,4326), 
	CONSTRAINT pk_correction_shape PRIMARY KEY (fid), 
	CONSTRAINT fk_correction_shape_fid FOREIGN KEY(fid) REFERENCES correction (fid) ON DELETE CASCADE
);

COMMENT ON TABLE correction_shape IS 'Lines and polygons of a result for the views, computed when it was stored.';

COMMENT ON COLUMN correction_shape.fid IS 'fid of the result';

COMMENT ON COLUMN correction_shape.displacement IS 'line from the reported to the corrected position';

COMMENT ON COLUMN correction_shape.ellipse IS '95 % error ellipse';

COMMENT ON COLUMN correction_shape.wedge IS 'what the corrected photo sees';

CREATE INDEX ix_correction_shape_outlines ON correction_shape USING gist (displacement, ellipse, wedge);

ALTER TABLE correction_shape ALTER COLUMN fid SET STATISTICS 10;

ALTER TABLE correction_shape ALTER COLUMN displacement SET STATISTICS 10;

ALTER TABLE correction_shape ALTER COLUMN ellipse SET STATISTICS 10;

ALTER TABLE correction_shape ALTER COLUMN wedge SET STATISTICS 10;
