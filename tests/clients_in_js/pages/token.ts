export const token = async (): Promise<string> => process.env.TOKEN ?? "";
