/**
 * The functions and triggers that PostgreSQL has from the migrations, where SQLite has this process (`database.ts`). Each
 * gives what its counterpart in JavaScript gives, for any text: `jsonb` alone would refuse NUL and lone surrogates, and
 * orders strings by code points.
 *
 * They are called by statements, not by applications, and a migration that has shipped is never edited: who changes one
 * writes a migration that replaces it, with a meaning that the version before can live with.
 */
import { type Kysely, sql } from "kysely";

/** DEL: begins what stands for a character that `jsonb` or its comparisons could not take; itself it is DEL and d. */
const MARK = "U&'\\007F'";

/** Before the first table. */
export async function createFunctions(db: Kysely<unknown>): Promise<void> {
  for (const text of FUNCTIONS) await sql.raw(text).execute(db);
}

const FUNCTIONS = [
  // By this all processes agree about leases and about what is due. Within a statement it stands still.
  `create function heddle_now() returns bigint language sql stable parallel safe
    return floor(extract(epoch from statement_timestamp()) * 1000)::bigint`,

  // JSON as JSON.stringify writes it. Every text that is compared went through this, so that equal ones stay equal.
  `create function heddle_jsonb(document text) returns jsonb language sql immutable strict parallel safe
    return replace(replace(replace(document, ${MARK}, ${MARK} || 'd'), '\\\\', ${MARK} || 'b'), '\\u', ${MARK} || 'u')::jsonb`,

  // jsonContains of containment.ts. An array that holds a scalar does not contain it.
  `create function heddle_holds(value jsonb, filter jsonb) returns boolean language sql immutable parallel safe
    return case
      when value is null or jsonb_typeof(value) <> jsonb_typeof(filter) then false
      when jsonb_typeof(filter) in ('object', 'array') then value @> filter
      else value = filter
    end`,

  `create function json_contains(document text, filter text) returns boolean language sql immutable parallel safe
    return heddle_holds(heddle_jsonb(document), heddle_jsonb(filter))`,

  // The UTF-16 units of a string of heddle_jsonb, as hexadecimal digits: the order of JavaScript's strings.
  `create function heddle_units(content text) returns text language sql immutable strict parallel safe
    begin atomic
      select coalesce(string_agg(case
          when part[1] = ${MARK} || 'b' then '005c'
          when part[1] = ${MARK} || 'd' then '007f'
          when length(part[1]) > 1 then substr(part[1], 3)
          when ascii(part[1]) < 65536 then lpad(to_hex(ascii(part[1])), 4, '0')
          else to_hex(55296 + ((ascii(part[1]) - 65536) >> 10)) || to_hex(56320 + ((ascii(part[1]) - 65536) & 1023))
        end, '' order by place), '')
      from regexp_matches(content, ${MARK} || '(?:u[0-9a-f]{4}|[bd])|.', 'g') with ordinality as parts (part, place);
    end`,

  // Negative, zero or positive for two numbers or two strings; null for anything else.
  `create function heddle_order(a jsonb, b jsonb) returns integer language plpgsql immutable parallel safe as $$
    declare
      x text;
      y text;
    begin
      if jsonb_typeof(a) = 'number' and jsonb_typeof(b) = 'number' then
        return sign(a::numeric - b::numeric);
      end if;
      if jsonb_typeof(a) = 'string' and jsonb_typeof(b) = 'string' then
        x := a #>> '{}';
        y := b #>> '{}';
        if x ~ '[^\\u0001-\\u007e]' or y ~ '[^\\u0001-\\u007e]' then
          x := heddle_units(x);
          y := heddle_units(y);
        end if;
        return case when x collate "C" < y collate "C" then -1 when x collate "C" > y collate "C" then 1 else 0 end;
      end if;
      return null;
    end $$`,

  // JSON_OPERATORS, $exists and $contains. A member that is not there is null, one that is JSON's null is not.
  `create function heddle_meets(member jsonb, operator text, operand jsonb) returns boolean
    language plpgsql immutable parallel safe as $$
    begin
      case operator
        when '$eq' then return member is not null and member = operand;
        when '$ne' then return member is null or member <> operand;
        when '$gt' then return coalesce(heddle_order(member, operand) > 0, false);
        when '$gte' then return coalesce(heddle_order(member, operand) >= 0, false);
        when '$lt' then return coalesce(heddle_order(member, operand) < 0, false);
        when '$lte' then return coalesce(heddle_order(member, operand) <= 0, false);
        when '$in' then return exists (select from jsonb_array_elements(operand) item where item = member);
        when '$nin' then return not exists (select from jsonb_array_elements(operand) item where item = member);
        when '$exists' then return to_jsonb(member is not null) = operand;
        when '$contains' then return heddle_holds(member, operand);
      end case;
    end $$`,

  // createMemberMatcher of member-filter.ts.
  `create function member_matches(document text, condition text) returns boolean
    language plpgsql immutable parallel safe as $$
    declare
      asked constant jsonb := heddle_jsonb(condition);
      member jsonb := coalesce(heddle_jsonb(document), '{}');
      name text;
    begin
      for name in select * from jsonb_array_elements_text(asked -> 'path') loop
        member := case when jsonb_typeof(member) = 'object' then member -> name end;
      end loop;
      return heddle_meets(member, asked ->> 'operator', asked -> 'operand');
    end $$`,

  // meetsConditions of item-filter.ts.
  `create function item_matches(value text, conditions text) returns boolean
    language plpgsql immutable parallel safe as $$
    declare
      item constant jsonb := heddle_jsonb(value);
      asked jsonb;
    begin
      for asked in select * from jsonb_array_elements(heddle_jsonb(conditions)) loop
        if not heddle_meets(item -> (asked ->> 0), asked ->> 1, asked -> 2) then
          return false;
        end if;
      end loop;
      return true;
    end $$`,
];

/** Tells the connection that changes a thread which one it is (`postgres.ts`): the columns that searches show or ask for. */
export async function createThreadNotices(db: Kysely<unknown>, columns: readonly string[]): Promise<void> {
  await sql
    .raw(`create function thread_changed() returns trigger language plpgsql as $$
      begin
        raise notice using errcode = '${THREAD_CHANGED}', message = coalesce(new.thread_id, old.thread_id);
        return null;
      end $$`)
    .execute(db);
  await sql
    .raw(`create trigger thread_changed after insert or delete or update of ${columns.join(", ")} on threads
      for each row execute function thread_changed()`)
    .execute(db);
}

/** Of the class that standards leave to whoever needs one. */
export const THREAD_CHANGED = "HD001";

/** Every transition of a run leaves a row, as on SQLite. */
export async function createRunAudit(db: Kysely<unknown>): Promise<void> {
  const columns = "run_id, thread_id, at, old_status, new_status, fence, attempt, worker_id";
  await sql
    .raw(`create function audit_run() returns trigger language plpgsql as $$
      begin
        if tg_op = 'DELETE' then
          if exists (select from threads where thread_id = old.thread_id) then
            insert into run_audit (${columns}) values (old.run_id, old.thread_id, heddle_now(), old.status, null,
              old.fence, old.attempt, old.worker_id);
          end if;
        else
          insert into run_audit (${columns}) values (new.run_id, new.thread_id, heddle_now(),
            case when tg_op = 'UPDATE' then old.status end, new.status, new.fence, new.attempt, new.worker_id);
        end if;
        return null;
      end $$`)
    .execute(db);
  const trigger = (name: string, when: string) => `create trigger ${name} after ${when} execute function audit_run()`;
  for (const text of [
    trigger("run_admitted", "insert on runs for each row"),
    trigger("run_changed", "update on runs for each row when (old.status <> new.status or old.fence <> new.fence)"),
    trigger("run_removed", "delete on runs for each row"),
  ]) {
    await sql.raw(text).execute(db);
  }
}

/** A thread counts the claims of its runs, as on SQLite. */
export async function createClaimCounter(db: Kysely<unknown>): Promise<void> {
  await sql
    .raw(`create function count_claim() returns trigger language plpgsql as $$
      begin
        update threads set claims = claims + 1 where thread_id = new.thread_id;
        return null;
      end $$`)
    .execute(db);
  await sql
    .raw(`create trigger run_admitted_claimed after insert on runs for each row when (new.fence > 0)
      execute function count_claim()`)
    .execute(db);
  await sql
    .raw(`create trigger run_claimed after update of fence on runs for each row when (new.fence > old.fence)
      execute function count_claim()`)
    .execute(db);
}

/** More of a word would not narrow a search any further, and an index holds no more of it. */
export const LEXEME_CHARS = 200;

/**
 * The full-text index. Texts are stored as the words that SQLite makes of them (`word-folding.ts`), each behind a blank, so that
 * a phrase is a part of the text; the index finds where to look.
 */
export async function createWordIndex(db: Kysely<unknown>): Promise<void> {
  await sql
    .raw(`create function thread_lexemes(title text, words text) returns tsvector
      language sql immutable strict parallel safe
      begin atomic
        select array_to_tsvector(array(
          select distinct left(word, ${LEXEME_CHARS})
          from unnest(string_to_array(title || words, ' ')) as word where word <> ''));
      end`)
    .execute(db);
  await sql
    .raw("create index thread_texts_lexemes on thread_texts using gin (thread_lexemes(title, words))")
    .execute(db);
  await sql
    .raw(`create function thread_fts(query text) returns table (rowid bigint) language sql stable parallel safe
      begin atomic
        select id from thread_texts
        where thread_lexemes(title, words) @@ (query::jsonb ->> 'lexemes')::tsquery
          and not exists (select from jsonb_array_elements_text(query::jsonb -> 'phrases') as phrase
            where strpos(title, phrase) = 0 and strpos(words, phrase) = 0);
      end`)
    .execute(db);
}
