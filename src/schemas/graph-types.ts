/** The types that a graph's own type gives: state, input, output, context. Known by the members that carry them in LangGraph 1.x. */
import type { Type, TypeChecker } from "typescript";

export interface GraphTypes {
  readonly state: Type | undefined;
  readonly input: Type | undefined;
  readonly output: Type | undefined;
  readonly context: Type | undefined;
}

/** Of a compiled graph, a builder, an agent, a promise or a factory of one; undefined for anything else. */
export function graphTypes(checker: TypeChecker, exported: Type): GraphTypes | undefined {
  const graph = findGraph(checker, exported);
  if (graph === undefined) return undefined;
  const output = memberType(checker, graph, "~OutputType");
  return {
    state: memberType(checker, graph, "~RunOutput"),
    input: memberType(checker, graph, "~InputType"),
    output: output && checker.getAwaitedType(output), // that of an entrypoint is what its function returns
    context: contextType(checker, graph),
  };
}

/** What `invoke` takes as its context; undefined where that was given no type: it is a record of anything then. */
function contextType(checker: TypeChecker, graph: Type): Type | undefined {
  const [signature] = memberType(checker, graph, "invoke")?.getCallSignatures() ?? [];
  const options = signature?.parameters[1];
  if (options === undefined) return undefined;
  const context = memberType(checker, checker.getNonNullableType(checker.getTypeOfSymbol(options)), "context");
  const given = context && checker.getNonNullableType(context);
  return given !== undefined && checker.getPropertiesOfType(given).length > 0 ? given : undefined;
}

/** How many factories, builders and promises may be about a graph. */
const MAX_WRAPPINGS = 5;

function findGraph(checker: TypeChecker, exported: Type): Type | undefined {
  let type: Type | undefined = exported;
  for (let wrapping = 0; wrapping < MAX_WRAPPINGS && type !== undefined; wrapping++) {
    type = checker.getAwaitedType(type) ?? type;
    const inner: Type | undefined = memberType(checker, type, "graph"); // of an agent
    if (inner !== undefined && isGraph(checker, inner)) return inner;
    if (isGraph(checker, type)) return type;
    const make: Type = memberType(checker, type, "compile") ?? type;
    type = make.getCallSignatures()[0]?.getReturnType();
  }
  return undefined;
}

function isGraph(checker: TypeChecker, type: Type): boolean {
  return memberType(checker, type, "lg_is_pregel") !== undefined;
}

function memberType(checker: TypeChecker, type: Type, name: string): Type | undefined {
  const symbol = checker.getPropertyOfType(type, name);
  return symbol && checker.getTypeOfSymbol(symbol);
}
