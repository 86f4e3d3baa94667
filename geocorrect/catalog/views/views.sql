-- Views that PostGIS and SQLite understand alike. A result is active when neither its run nor a run that this depends on
-- is rolled back, it is not retracted, and no newer active result exists for the same photo.
--
-- PostgreSQL plans at most eight relations together (join_collapse_limit): of more it reads whole tables for every map
-- window. "not in" over withdrawn runs, which are few, is answered once per query and is none of the eight.

-- view: withdrawn_run | Runs that are rolled back, or depend on one that is: their results are not active.
select r.fid, r.run_key, r.rolled_back_at
from run r
where r.rolled_back_at is not null
  or exists (
    select 1 from run_basis b join run basis on basis.fid = b.basis_id where b.run_id = r.fid and basis.rolled_back_at is not null
  );

-- view: run_in_force | Runs that are not rolled back, nor depend on one that is.
select r.fid, r.run_key from run r where r.fid not in (select w.fid from withdrawn_run w);

-- view: current_result POINT Z | The active result of every photo, corrected or rejected.
select c.*, r.run_key
from correction c
join run r on r.fid = c.run_id
where c.run_id not in (select w.fid from withdrawn_run w)
  and not exists (select 1 from retraction t where t.correction_id = c.fid)
  and not exists (
    select 1
    from correction newer
    where newer.image_id = c.image_id and newer.fid > c.fid
      and newer.run_id not in (select w.fid from withdrawn_run w)
      and not exists (select 1 from retraction t where t.correction_id = newer.fid)
  );

-- view: placed_photo POINT Z | Photos with a pose (active results), accepted or not: see status. Everyday work wants current_correction.
select c.fid, c.image_id, i.sequence_id, i.captured_at, c.run_key, c.status, c.lon_deg, c.lat_deg, c.height_m, c.heading_deg,
  c.pitch_deg, c.roll_deg, c.expected_error_m, c.expected_heading_error_deg, c.semi_major_m, c.semi_minor_m,
  c.ellipse_azimuth_deg, c.sigma_height_m, c.displacement_m, c.displacement_east_m, c.displacement_north_m,
  c.heading_change_deg, i.lon_deg as reported_lon_deg, i.lat_deg as reported_lat_deg, i.heading_deg as reported_heading_deg,
  i.computed_lon_deg, i.computed_lat_deg, i.computed_heading_deg, i.quality, c.matcher, c.depth, c.depth_is_oracle,
  c.scale_source, c.n_anchors, c.n_matches, c.n_inliers, c.inlier_coverage, c.median_residual_px, c.anchor_spread_m,
  c.recorded_at, i.device_make, i.device_model, i.creator, i.page_url, i.licence, i.path, c.geom
from current_result c
join image i on i.image_id = c.image_id
where c.status <> 'rejected';

-- view: current_correction POINT Z | Corrected photos (active results that are accepted), at their corrected positions.
select * from placed_photo where status = 'accepted';

-- view: review_queue POINT Z | Photos whose pose waits for a review: not accepted, possibly far off. See geocorrect review.
select * from placed_photo where status = 'review';

-- view: provider_comparison POINT Z | Accepted photos: how far the reported and the provider's computed position are from the corrected one.
select p.fid, p.image_id, p.sequence_id, p.quality, p.displacement_m as reported_to_corrected_m,
  sqrt(power(2 * 6378137 * cos(radians(p.lat_deg)) / sqrt(1 - 0.00669437999014 * power(sin(radians(p.lat_deg)), 2))
      * sin(radians(p.computed_lon_deg - p.lon_deg) / 2), 2)
    + power(2 * 6335439.327 / power(1 - 0.00669437999014 * power(sin(radians(p.lat_deg)), 2), 1.5)
      * sin(radians(p.computed_lat_deg - p.lat_deg) / 2), 2)) as computed_to_corrected_m,
  p.heading_deg, p.reported_heading_deg, p.computed_heading_deg, p.device_make, p.device_model, p.geom
from current_correction p
where p.computed_lon_deg is not null;

-- view: rejected POINT | Photos that are not corrected, at their reported positions, with the reason.
select c.fid, c.image_id, i.sequence_id, i.captured_at, c.run_key, c.reason, m.meaning, c.detail, c.n_anchors, c.n_matches,
  c.n_inliers, c.recorded_at, i.lon_deg, i.lat_deg, i.heading_deg, i.device_make, i.device_model, i.creator, i.page_url,
  i.licence, i.path, i.geom
from current_result c
join image i on i.image_id = c.image_id
join reason m on m.reason = c.reason
where c.status = 'rejected';

-- view: sequence_bias POINT Z | Mean error of the reported positions and headings of every sequence, at its first corrected photo.
with track as (
  select c.fid, i.sequence_id, i.device_make, i.device_model, c.displacement_east_m as de, c.displacement_north_m as dn,
    c.displacement_m, c.heading_change_deg,
    (lead(c.enu_x_m) over w - lag(c.enu_x_m) over w)
      / nullif(epoch_seconds(lead(i.captured_at) over w) - epoch_seconds(lag(i.captured_at) over w), 0) as ve,
    (lead(c.enu_y_m) over w - lag(c.enu_y_m) over w)
      / nullif(epoch_seconds(lead(i.captured_at) over w) - epoch_seconds(lag(i.captured_at) over w), 0) as vn
  from current_result c
  join image i on i.image_id = c.image_id
  where c.status = 'accepted' and i.sequence_id is not null
  window w as (partition by i.sequence_id order by i.captured_at, i.image_id)
),
moving as (
  select sequence_id, count(*) as n,
    sum(de * ve + dn * vn) - (sum(de) * sum(ve) + sum(dn) * sum(vn)) / count(*) as covariance,
    sum(ve * ve + vn * vn) - (sum(ve) * sum(ve) + sum(vn) * sum(vn)) / count(*) as variance
  from track
  where ve is not null and vn is not null and de is not null
  group by sequence_id
),
summary as (
  select sequence_id, min(fid) as fid, min(device_make) as device_make, min(device_model) as device_model, count(*) as n_photos,
    avg(de) as mean_east_m, avg(dn) as mean_north_m, avg(displacement_m) as mean_displacement_m,
    max(displacement_m) as max_displacement_m,
    degrees(atan2(avg(sin(radians(heading_change_deg))), avg(cos(radians(heading_change_deg))))) as heading_bias_deg
  from track
  group by sequence_id
)
select s.fid, s.sequence_id, s.device_make, s.device_model, s.n_photos, s.mean_east_m, s.mean_north_m, s.mean_displacement_m,
  s.max_displacement_m, s.heading_bias_deg,
  case when m.variance > 0.25 * m.n then m.covariance / m.variance end as lag_s, c.geom
from summary s
join correction c on c.fid = s.fid
left join moving m on m.sequence_id = s.sequence_id;

-- view: current_sequence_finding | What every sequence as a whole says about its results and its device; corrected minus reported.
select f.fid, f.sequence_id, r.run_key, f.recorded_at, f.motion, f.note, f.n_photos, f.n_results, f.n_trusted, f.n_flagged,
  f.n_doubted, f.n_placed, f.n_sharpened, f.device_make, f.device_model, f.median_east_m, f.median_north_m, f.spread_m,
  f.heading_bias_deg, f.lag_s, f.translation_noise, f.rotation_noise
from sequence_finding f
join run_in_force r on r.fid = f.run_id
where not exists (
  select 1
  from sequence_finding newer
  join run_in_force newer_run on newer_run.fid = newer.run_id
  where newer.sequence_id = f.sequence_id and newer.fid > f.fid
);

-- view: device_lens | What the accepted photos of every kind of device and size say together about its lens, as `geocorrect devices`.
with seen as (
  select c.fid, coalesce(i.device_make, '') as device_make, coalesce(i.device_model, '') as device_model,
    json_number(i.camera, 'width') as width_px, json_number(i.camera, 'height') as height_px,
    json_number(i.camera, 'focal_x_px') as stated_focal_px, json_number(i.camera, 'principal_x_px') as stated_x_px,
    json_number(i.camera, 'principal_y_px') as stated_y_px, coalesce(json_number(i.camera, 'focal_sigma'), 0.03) as stated_sigma,
    json_number(c.evidence, 'lens.focal_px') as focal_px, json_number(c.evidence, 'lens.focal_sigma') as focal_sigma,
    json_number(c.evidence, 'lens.principal_x_px') as x_px, json_number(c.evidence, 'lens.principal_x_sigma_px') as x_sigma_px,
    json_number(c.evidence, 'lens.principal_y_px') as y_px, json_number(c.evidence, 'lens.principal_y_sigma_px') as y_sigma_px,
    json_number(c.evidence, 'lens.bend') as bend, json_number(c.evidence, 'lens.bend_sigma') as bend_sigma
  from current_result c
  join image i on i.image_id = c.image_id
  where c.status = 'accepted' and json_number(c.evidence, 'lens.bend') is not null and json_number(i.camera, 'width') is not null
),
device as (
  select min(fid) as fid, device_make, device_model, width_px, height_px, count(*) as n_photos
  from seen
  group by device_make, device_model, width_px, height_px
  having count(*) >= 5
),
estimate as (
  select d.fid as device, s.fid, 'focal' as quantity, ln(s.focal_px) as value, s.focal_sigma as sigma,
    ln(s.stated_focal_px) as stated, s.stated_sigma
  from device d join seen s using (device_make, device_model, width_px, height_px)
  union all
  select d.fid, s.fid, 'x', s.x_px - s.stated_x_px, s.x_sigma_px, s.stated_x_px, null
  from device d join seen s using (device_make, device_model, width_px, height_px)
  union all
  select d.fid, s.fid, 'y', s.y_px - s.stated_y_px, s.y_sigma_px, s.stated_y_px, null
  from device d join seen s using (device_make, device_model, width_px, height_px)
  union all
  select d.fid, s.fid, 'bend', s.bend, s.bend_sigma, null, null
  from device d join seen s using (device_make, device_model, width_px, height_px)
),
-- The median weighted by precision: the first value below which half of all weights lie.
weighed as (
  select e.*, sum(1 / (sigma * sigma)) over (partition by device, quantity order by value, fid) as below,
    sum(1 / (sigma * sigma)) over (partition by device, quantity) as total
  from estimate e
),
middle as (
  select device, quantity, min(value) as value, min(total) as total
  from weighed
  where below >= total / 2
  group by device, quantity
),
-- Plain medians of how far the estimates are from it, and of what the photos state.
number as (
  select e.device, e.quantity, 'off' as kind, abs(e.value - m.value) / e.sigma as value
  from estimate e join middle m using (device, quantity)
  union all
  select device, quantity, 'stated', stated from estimate where stated is not null
),
ranked as (
  select n.*, row_number() over (partition by device, quantity, kind order by value) as place,
    count(*) over (partition by device, quantity, kind) as n
  from number n
),
median as (
  select device, quantity, kind, avg(value) as value
  from ranked
  where place in ((n + 1) / 2, (n + 2) / 2)
  group by device, quantity, kind
),
found as (
  select m.device, m.quantity, m.value, 1.4826 * o.value as spread,
    1.25 * case when 1.4826 * o.value > 1 then 1.4826 * o.value else 1 end / sqrt(m.total) as sigma, s.value as stated
  from middle m
  join median o on o.device = m.device and o.quantity = m.quantity and o.kind = 'off'
  left join median s on s.device = m.device and s.quantity = m.quantity and s.kind = 'stated'
),
apart as (
  select e.device, abs(e.stated - f.value) / sqrt(e.stated_sigma * e.stated_sigma + f.sigma * f.sigma) as sigmas
  from estimate e
  join found f on f.device = e.device and f.quantity = 'focal'
  where e.quantity = 'focal'
),
apart_ranked as (
  select a.*, row_number() over (partition by device order by sigmas) as place, count(*) over (partition by device) as n
  from apart a
),
apart_median as (
  select device, avg(sigmas) as stated_sigmas from apart_ranked where place in ((n + 1) / 2, (n + 2) / 2) group by device
)
select d.fid, d.device_make, d.device_model, d.width_px, d.height_px, d.n_photos, exp(f.value) as focal_px, f.sigma as focal_sigma,
  f.spread as focal_spread, exp(f.stated) as stated_focal_px, exp(f.value - f.stated) as focal_ratio, a.stated_sigmas,
  x.stated + x.value as principal_x_px, x.sigma as principal_x_sigma_px, x.value as principal_x_shift_px,
  y.stated + y.value as principal_y_px, y.sigma as principal_y_sigma_px, y.value as principal_y_shift_px,
  b.value as bend, b.sigma as bend_sigma
from device d
join found f on f.device = d.fid and f.quantity = 'focal'
join found x on x.device = d.fid and x.quantity = 'x'
join found y on y.device = d.fid and y.quantity = 'y'
join found b on b.device = d.fid and b.quantity = 'bend'
join apart_median a on a.device = d.fid;

-- view: device_finding | What the sequences of every kind of device say about it, on average (corrected minus reported), and of its lens the photos of the commonest size.
with bias as (
  select min(f.fid) as fid, f.device_make, f.device_model, count(*) as n_sequences, sum(f.n_trusted + f.n_placed) as n_photos,
    avg(f.median_east_m) as mean_east_m, avg(f.median_north_m) as mean_north_m, avg(f.spread_m) as mean_spread_m,
    degrees(atan2(avg(sin(radians(f.heading_bias_deg))), avg(cos(radians(f.heading_bias_deg))))) as heading_bias_deg,
    avg(f.lag_s) as lag_s
  from current_sequence_finding f
  where f.note = ''
  group by f.device_make, f.device_model
),
lens as (
  select l.*, row_number() over (partition by device_make, device_model order by n_photos desc, fid) as size_rank
  from device_lens l
)
select b.fid, b.device_make, b.device_model, b.n_sequences, b.n_photos, b.mean_east_m, b.mean_north_m, b.mean_spread_m,
  b.heading_bias_deg, b.lag_s, l.n_photos as n_lens_photos, l.width_px, l.height_px, l.focal_px, l.focal_sigma, l.focal_spread,
  l.stated_focal_px, l.focal_ratio, l.stated_sigmas, l.principal_x_px, l.principal_x_sigma_px, l.principal_y_px,
  l.principal_y_sigma_px, l.bend, l.bend_sigma
from bias b
left join lens l on l.device_make = coalesce(b.device_make, '') and l.device_model = coalesce(b.device_model, '')
  and l.size_rank = 1;

-- view: device_bias | Mean error of the reported positions and headings of every kind of device.
select min(c.fid) as fid, i.device_make, i.device_model, count(*) as n_photos, count(distinct i.sequence_id) as n_sequences,
  avg(c.displacement_east_m) as mean_east_m, avg(c.displacement_north_m) as mean_north_m,
  avg(c.displacement_m) as mean_displacement_m,
  degrees(atan2(avg(sin(radians(c.heading_change_deg))), avg(cos(radians(c.heading_change_deg))))) as heading_bias_deg
from current_result c
join image i on i.image_id = c.image_id
where c.status = 'accepted'
group by i.device_make, i.device_model;

-- view: run_summary | Every run with the number of its results.
select r.fid, r.run_key, r.started_at, r.finished_at, r.duration_s, r.n_starts, r.matcher, r.depth, r.alignment_version,
  r.code_version, r.rolled_back_at, count(c.fid) as n_results,
  sum(case when c.status = 'accepted' then 1 else 0 end) as n_accepted,
  sum(case when c.status = 'review' then 1 else 0 end) as n_review,
  sum(case when c.status = 'rejected' then 1 else 0 end) as n_rejected,
  avg(c.expected_error_m) as mean_expected_error_m
from run r
left join correction c on c.run_id = r.fid
group by r.fid, r.run_key, r.started_at, r.finished_at, r.duration_s, r.n_starts, r.matcher, r.depth, r.alignment_version,
  r.code_version, r.rolled_back_at;

-- view: run_diff POINT Z | Photos whose result differs between run_a and the later run_b, also those that only one of them has.
select cast(a.fid as bigint) * 2147483648 + b.fid as fid, ra.run_key as run_a, rb.run_key as run_b, a.image_id,
  a.status as status_a, b.status as status_b, a.reason as reason_a, b.reason as reason_b,
  sqrt((b.enu_x_m - a.enu_x_m) * (b.enu_x_m - a.enu_x_m) + (b.enu_y_m - a.enu_y_m) * (b.enu_y_m - a.enu_y_m)) as moved_m,
  a.expected_error_m as expected_error_a_m, b.expected_error_m as expected_error_b_m, coalesce(b.geom, a.geom) as geom
from correction a
join correction b on b.image_id = a.image_id and b.run_id > a.run_id
join run ra on ra.fid = a.run_id
join run rb on rb.fid = b.run_id
where a.status <> b.status or coalesce(a.reason, '') <> coalesce(b.reason, '')
  or coalesce(a.lon_deg, 999) <> coalesce(b.lon_deg, 999) or coalesce(a.lat_deg, 999) <> coalesce(b.lat_deg, 999)
  or coalesce(a.height_m, -99999) <> coalesce(b.height_m, -99999)
union all
-- Keys of photos that only one run has lie above all others (2 to the power of 62).
select 4611686018427387904 + cast(a.fid as bigint) * 2147483648 + rb.fid, ra.run_key, rb.run_key, a.image_id, a.status,
  cast(null as text), a.reason, cast(null as text), null, a.expected_error_m, null, a.geom
from correction a
join run ra on ra.fid = a.run_id
join run rb on rb.fid > ra.fid
where not exists (select 1 from correction b where b.run_id = rb.fid and b.image_id = a.image_id)
union all
select 4611686018427387904 + cast(b.fid as bigint) * 2147483648 + ra.fid, ra.run_key, rb.run_key, b.image_id,
  cast(null as text), b.status, cast(null as text), b.reason, null, null, b.expected_error_m, b.geom
from correction b
join run rb on rb.fid = b.run_id
join run ra on ra.fid < rb.fid
where not exists (select 1 from correction a where a.run_id = ra.fid and a.image_id = b.image_id);
