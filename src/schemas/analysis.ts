/** What the types of a graph's source say: its schemas and those of its subgraphs, however deep. Runs nothing of the project. */
import type { Expression, Symbol as TsSymbol, Type } from "typescript";
import type { JsonObject } from "../core/model.js";
import type { GraphSchemas } from "../graphs/host.js";
import { graphTypes } from "./graph-types.js";
import { type FileHashes, openProgram, type ParsedPackages } from "./project-program.js";
import { type NodeExpressions, nodeExpressions, nodesOfExpression } from "./subgraph-nodes.js";
import { type TypeContext, type TypeScript, typeSchema } from "./type-schema.js";

/** One export of one file. */
export interface AnalysisTarget {
  readonly file: string;
  readonly exportName: string;
}

export interface Analysis {
  /** By namespace: `""` the graph itself, `node|node` the subgraphs. */
  readonly schemas: { readonly [namespace: string]: GraphSchemas };
  /** Why something has no schema. */
  readonly reasons: readonly string[];
  /** What it was made of. */
  readonly files: FileHashes;
}

/** A subgraph may contain itself. */
const MAX_LEVELS = 8;

export function analyse(ts: TypeScript, { file, exportName }: AnalysisTarget, parsed: ParsedPackages): Analysis {
  const { program, files } = openProgram(ts, file, parsed);
  const schemas: Record<string, GraphSchemas> = {};
  const reasons: string[] = [];
  const exported = findExport({ ts, program }, file, exportName);
  if (exported === undefined) return { schemas, reasons: [`no export "${exportName}" is found in its types`], files };
  const search = new GraphSearch({ ts, program }, schemas, reasons);
  search.add(
    "",
    program.getTypeChecker().getTypeOfSymbol(exported),
    () => nodeExpressions({ ts, program }, exported),
    0,
  );
  return { schemas, reasons, files };
}

function findExport({ ts, program }: TypeContext, file: string, exportName: string): TsSymbol | undefined {
  const checker = program.getTypeChecker();
  const source = program.getSourceFile(file);
  const module = source && checker.getSymbolAtLocation(source);
  if (module === undefined) return undefined;
  const found = checker.getExportsOfModule(module).find(({ name }) => name === exportName);
  const whole = exportName === "default" ? module.exports?.get(ts.InternalSymbolName.ExportEquals) : undefined; // CommonJS
  const symbol = found ?? whole;
  return symbol !== undefined && symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
}

class GraphSearch {
  readonly #context: TypeContext;
  readonly #schemas: Record<string, GraphSchemas>;
  readonly #reasons: string[];

  constructor(context: TypeContext, schemas: Record<string, GraphSchemas>, reasons: string[]) {
    this.#context = context;
    this.#schemas = schemas;
    this.#reasons = reasons;
  }

  /** The graph of a namespace and those of its nodes that are graphs. */
  add(namespace: string, type: Type, nodes: () => NodeExpressions, level: number): void {
    const checker = this.#context.program.getTypeChecker();
    const types = graphTypes(checker, type);
    if (types === undefined) {
      if (namespace === "") this.#reasons.push(`its type is not a graph but ${checker.typeToString(type)}`);
      return;
    }
    const state = this.#schema(namespace, "state", types.state);
    const input = this.#schema(namespace, "input", types.input);
    const output = this.#schema(namespace, "output", types.output);
    const context = this.#schema(namespace, "context", types.context);
    const given = context && optional(context);
    this.#schemas[namespace] = {
      input_schema: input,
      output_schema: output,
      state_schema: state,
      config_schema: given,
      context_schema: given,
    };
    if (level === MAX_LEVELS) return;
    for (const [node, expression] of nodes()) this.#addNode(namespace, node, expression, level + 1);
  }

  #addNode(parent: string, node: string, expression: Expression, level: number): void {
    const namespace = parent === "" ? node : `${parent}|${node}`;
    const type = this.#context.program.getTypeChecker().getTypeAtLocation(expression);
    if (type.getCallSignatures().length > 0) return; // a function, even one that makes a graph, is a node of its own
    this.add(namespace, type, () => nodesOfExpression(this.#context, expression), level);
  }

  #schema(namespace: string, part: string, type: Type | undefined): JsonObject | null {
    if (type === undefined) return null;
    const of = namespace === "" ? "" : ` of its subgraph ${namespace}`;
    try {
      const schema = typeSchema(this.#context, type);
      if (schema === null) this.#reasons.push(`the ${part}${of} has no type that says anything`);
      return schema;
    } catch (error) {
      this.#reasons.push(`the ${part}${of} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
      return null;
    }
  }
}

/** Nothing checks a context that is only a type: none of it has to be given. */
function optional({ required: _, ...schema }: JsonObject): JsonObject {
  return schema;
}
