"""Functions that a query may call; they change neither data nor later answers.

Functions of DuckDB that are left out on purpose change something (``nextval``,
``setseed``, ``write_log``, ``checkpoint``, ``enable_logging``), run SQL that is hidden in a
text (``query``, ``json_execute_serialized_sql``), read memory (``arrow_scan``), wait
(``sleep_ms``), or show credentials and other connections (``duckdb_secrets``,
``duckdb_logs``). A function that is not listed here is refused.
"""

from __future__ import annotations

# Comparisons are left out: called as functions, such as "="(a, b), they skip the casts of
# the infix operators and crash the process for some types.
_OPERATORS = """
!__postfix !~~ !~~* % & && * ** + - -> ->> / // <-> << <=> <@ >> @ @> ^ ^@ |
|| ~ ~~ ~~* ~~~ ilike_escape like_escape not_ilike_escape not_like_escape
"""

_NUMBERS = """
abs acos acosh add asin asinh atan atan2 atanh bin binom bit_count bit_length bit_position
bitstring cbrt ceil ceiling cos cosh cot decimal_division degrees divide even exp factorial
fdiv floor fmod gamma gcd get_bit greatest_common_divisor hex isfinite isinf isnan lcm
least_common_multiple lgamma ln log log10 log2 mod multiply nextafter pi pow power radians
random round round_even roundbankers set_bit sign signbit sin sinh sqrt subtract tan tanh
to_base to_binary to_hex trunc unbin unhex xor
"""

_TEXTS = """
ascii bar base64 char_length character_length chr concat concat_ws contains
damerau_levenshtein decode editdist3 encode ends_with format format_bytes
formatreadabledecimalsize formatreadablesize from_base64 from_binary from_hex hamming hash
instr jaccard jaro_similarity jaro_winkler_similarity lcase left left_grapheme length
length_grapheme levenshtein lower lpad ltrim md5 md5_number md5_number_lower
md5_number_upper mismatches nfc_normalize octet_length ord overlay parse_dirname
parse_dirpath parse_filename parse_formatted_bytes parse_path path_join position prefix
printf regexp_escape regexp_extract regexp_extract_all regexp_full_match regexp_matches
regexp_replace regexp_split_to_array regexp_split_to_table repeat replace reverse right
right_grapheme rpad rtrim sha1 sha256 split split_part starts_with str_split
str_split_regex string_split string_split_regex string_to_array strip_accents strlen strpos
substr substring substring_grapheme suffix to_base64 translate trim ucase unicode upper
url_decode url_encode
"""

_TIMES = """
age ago century current_date current_localtime current_localtimestamp date_add date_diff
date_part date_sub date_trunc datediff datepart datesub datetrunc day dayname dayofmonth
dayofweek dayofyear days_in_month decade epoch epoch_ms epoch_ns epoch_us era
get_current_time get_current_timestamp hour isodow isoyear julian last_day make_date
make_time make_timestamp make_timestamp_ms make_timestamp_ns make_timestamptz microsecond
millennium millisecond minute month monthname nanosecond normalized_interval now quarter
second strftime strptime time_bucket timezone timezone_hour timezone_minute to_centuries
to_days to_decades to_hours to_microseconds to_millennia to_milliseconds to_minutes
to_months to_quarters to_seconds to_timestamp to_weeks to_years today transaction_timestamp
try_strptime week weekday weekofyear year yearweek
"""

_LISTS = """
aggregate apply array_aggr array_aggregate array_append array_apply array_cat array_concat
array_contains array_cosine_distance array_cosine_similarity array_cross_product
array_distance array_distinct array_dot_product array_extract array_filter array_grade_up
array_has array_has_all array_has_any array_indexof array_inner_product array_intersect
array_length array_negative_dot_product array_negative_inner_product array_pop_back
array_pop_front array_position array_prepend array_push_back array_push_front array_reduce
array_resize array_reverse array_reverse_sort array_select array_slice array_sort
array_to_string array_transform array_unique array_value array_where array_zip cardinality
element_at equi_width_bins filter flatten generate_series generate_subscripts grade_up len
list_aggr list_aggregate list_any_value list_append list_apply list_approx_count_distinct
list_avg list_bit_and list_bit_or list_bit_xor list_bool_and list_bool_or list_cat
list_concat list_contains list_cosine_distance list_cosine_similarity list_count
list_distance list_distinct list_dot_product list_element list_entropy list_extract
list_filter list_first list_grade_up list_has list_has_all list_has_any list_histogram
list_indexof list_inner_product list_intersect list_kurtosis list_kurtosis_pop list_last
list_mad list_max list_median list_min list_mode list_negative_dot_product
list_negative_inner_product list_pack list_position list_prepend list_product list_reduce
list_resize list_reverse list_reverse_sort list_select list_sem list_skewness list_slice
list_sort list_stddev_pop list_stddev_samp list_string_agg list_sum list_transform
list_unique list_value list_var_pop list_var_samp list_where list_zip range reduce unnest
"""

_NESTED = """
array_to_json from_json from_json_strict json json_array json_array_length json_contains
json_deep_merge json_exists json_extract json_extract_path json_extract_path_text
json_extract_string json_group_array json_group_object json_group_structure json_insert
json_keys json_merge_patch json_merge_patch_diff json_normalize json_object json_pretty
json_quote json_remove json_replace json_set json_strip_nulls json_structure json_transform
json_transform_strict json_type json_valid json_value map map_concat map_contains
map_contains_entry map_contains_value map_entries map_extract map_extract_value
map_from_entries map_keys map_values row row_to_json struct_concat struct_contains
struct_extract struct_extract_at struct_has struct_indexof struct_insert struct_keys
struct_pack struct_position struct_update struct_values to_json union_extract union_tag
union_value variant_array_length variant_contains variant_exists variant_extract
variant_extract_string variant_group_array variant_group_object variant_keys variant_type
variant_typeof
"""

_OTHERS = """
alias assert_true can_cast_implicitly coalesce constant_or_null current_catalog
current_database current_query current_role current_schema current_schemas current_setting
current_user enum_code enum_first enum_last enum_range enum_range_boundary error
gen_random_uuid greatest hive_partition_component icu_sort_key if ifnull
in_search_path is_histogram_other_bin json_serialize_sql least nullif pg_size_pretty
pg_typeof remap_struct session_user stats txid_current vector_type
st_asbinary st_asgeojson st_astext st_aswkb st_aswkt st_geomfromgeojson st_geomfromwkb
st_intersects_extent switch try_cast typeof user uuid uuid_extract_timestamp
uuid_extract_version uuidv4 uuidv7 version vertex_extract
"""

_AGGREGATES = """
any_value approx_count_distinct approx_quantile approx_top_k arbitrary arg_max arg_max_null
arg_max_nulls_last arg_min arg_min_null arg_min_nulls_last argmax argmin array_agg avg
bit_and bit_or bit_xor bitstring_agg bool_and bool_or corr count count_if count_star countif
covar_pop covar_samp decimal_average entropy favg first fsum geomean geometric_mean
group_concat histogram histogram_exact kahan_sum kurtosis kurtosis_pop last list listagg
lttb mad max max_by mean median min min_by mode product quantile quantile_cont
quantile_disc regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx
regr_sxy regr_syy reservoir_quantile sem skewness stddev stddev_pop stddev_samp string_agg
sum sum_no_overflow sumkahan var_pop var_samp variance wavg weighted_avg
"""

_WINDOWS = """
cume_dist dense_rank fill first_value lag last_value lead nth_value ntile percent_rank rank
rank_dense row_number
"""

_TABLES = """
generate_series histogram_values icu_calendar_names json_each json_tree pg_timezone_names
range repeat repeat_row summary test_all_types unnest
duckdb_columns duckdb_constraints duckdb_databases duckdb_dependencies duckdb_extensions
duckdb_functions duckdb_indexes duckdb_keywords duckdb_memory duckdb_optimizers
duckdb_schemas duckdb_sequences duckdb_settings duckdb_tables duckdb_types duckdb_views
pragma_collations pragma_database_size pragma_platform pragma_show pragma_storage_info
pragma_table_info pragma_user_agent pragma_version
"""

_FILES = """
glob parquet_bloom_probe parquet_file_metadata parquet_full_metadata parquet_kv_metadata
parquet_metadata parquet_scan parquet_schema query_table read_blob read_csv read_csv_auto
read_json read_json_auto read_json_objects read_json_objects_auto read_ndjson
read_ndjson_auto read_ndjson_objects read_ndjson_objects_auto read_parquet read_text
sniff_csv
"""
"""Functions that read files, within the limits of `catalog.query.database`, at paths that
`catalog.query.paths` has checked."""

FUNCTIONS = frozenset(
    " ".join(
        (
            _OPERATORS, _NUMBERS, _TEXTS, _TIMES, _LISTS, _NESTED, _OTHERS, _AGGREGATES,
            _WINDOWS, _TABLES, _FILES,
        )
    ).split()
)  # fmt: skip
"""Names of the allowed functions, in lower case."""

OF_FILES = frozenset(_FILES.split())
"""Functions whose arguments without a name are paths."""
