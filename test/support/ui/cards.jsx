/** Components of generative UI. */
import { useStreamContext } from "@langchain/langgraph-sdk/react-ui";
import { useState } from "react";
import "./cards.css";

function Card({ title }) {
  const [clicks, setClicks] = useState(0);
  const { meta } = useStreamContext();
  return (
    <button type="button" className="card" onClick={() => setClicks(clicks + 1)}>
      {title} {clicks} {String(meta)}
    </button>
  );
}

export default { Card };
